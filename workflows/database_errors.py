"""Which errors of the database are of its own, and which are of what was sent to it."""

from django.db import DataError

# SQLSTATE classes: data exceptions, and limits of the program such as an index row that is too long.
DATA_CLASSES = ("22", "54")


# The server is well: it has ended one statement or transaction (a deadlock, a lock, a time limit).
OF_ONE_CLASSES, QUERY_CANCELED = ("40", "55"), "57014"


def is_of_one_statement(error: Exception) -> bool:
    """True when what comes next may fare better, in the same database at the same time."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return state[:2] in OF_ONE_CLASSES or state == QUERY_CANCELED


def is_of_the_data(error: Exception) -> bool:
    """True when sending the same again can only fail again."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, DataError) or state[:2] in DATA_CLASSES
