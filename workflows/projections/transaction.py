"""The transaction in which projection rows may be written (docs/reference/authority.md#projection-writers).

The database refuses a write to a projection table outside of this transaction (`workflows.models.guard`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from workflows.models.guard import WRITER_SETTING


@contextmanager
def projection_writer(writer: str) -> Iterator[None]:
    """Open a transaction, or a savepoint, that may write projection rows.

    The permission ends with this block. After the block, the outer transaction may not write projection rows.
    """
    with transaction.atomic():
        before = _marker()
        _set_marker(writer)
        yield
        # After an exception, the rollback to the savepoint has already reset the marker to its earlier value.
        _set_marker(before)


def _marker() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(current_setting(%s, true), '')", [WRITER_SETTING])
        return str(cursor.fetchone()[0])


def _set_marker(value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [WRITER_SETTING, value])
