"""The one exception of the development stack."""


class StackError(Exception):
    """The stack cannot go on as asked; the message says why and what to do. Whoever ran the command must act."""
