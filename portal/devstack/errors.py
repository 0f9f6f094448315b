"""Base exception of the development stack."""


class StackError(Exception):
    """The stack cannot carry out a request. The message tells the user of the command the reason and the remedy."""
