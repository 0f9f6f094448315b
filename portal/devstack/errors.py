"""Base exception of the development stack."""


class StackError(Exception):
    """The stack cannot do what was requested. The message gives reason and remedy for the user of the command."""
