"""Classification of database errors by their SQLSTATE."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DataError, IntegrityError, transaction

# Data exceptions, and exceeded limits of the server. An example is an index row that is too long.
DATA_CLASSES = ("22", "54")
# The server ended one statement or transaction. The cause is a deadlock, a lock or a time limit.
STATEMENT_CLASSES, QUERY_CANCELED = ("40", "55"), "57014"
UNIQUE_VIOLATION = "23505"


def is_statement_error(error: Exception) -> bool:
    """Return True if the server ended only this statement or transaction. The next statement may succeed at once."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return state[:2] in STATEMENT_CLASSES or state == QUERY_CANCELED


def is_canceled(error: Exception) -> bool:
    """Return True if the server ended the statement because of its time limit."""
    return (getattr(error.__cause__, "sqlstate", None) or "") == QUERY_CANCELED


def is_data_error(error: Exception) -> bool:
    """Return True if the data caused the error. The same statement would then fail again."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, DataError) or state[:2] in DATA_CLASSES


def is_unique_violation(error: Exception) -> bool:
    """Return True if another row has the values of a unique key."""
    return (getattr(error.__cause__, "sqlstate", None) or "") == UNIQUE_VIOLATION


@contextmanager
def unique_or(refusal: Exception, *, using: str = "default") -> Iterator[None]:
    """Run the block in a savepoint, and raise the refusal if another row has the values of a unique key.

    A check before the insert finds only committed rows. Two requests at the same moment both pass it.
    """
    try:
        with transaction.atomic(using=using):
            yield
    except IntegrityError as error:
        if is_unique_violation(error):
            raise refusal from error
        raise
