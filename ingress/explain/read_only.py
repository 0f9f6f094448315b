"""A transaction that can only read: what is said to change nothing is held to it by the database."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def reading_only() -> Iterator[None]:
    """One moment of the database. Whatever tries to write in it fails, and takes no locks on rows either."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
