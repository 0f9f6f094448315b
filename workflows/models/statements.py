"""SQL statements that write many rows at once.

With Django's own functions, the same write needs several statements, or one long CASE per column. The column lists come
from the model, so a new field needs no change here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

from django.db import connection, models, transaction


@cache
def columns_of(model: type[models.Model]) -> str:
    """Return the quoted columns of a model, separated by commas, without the columns that PostgreSQL computes."""
    return ", ".join(_quoted(field.column) for field in _written_fields(model))


def values_of(
    rows: Sequence[models.Model], *, fields: Sequence[Any] | None = None, adding: bool
) -> tuple[str, list[Any]]:
    """Return the text of a VALUES list for rows of one model, and the parameters for this text.

    Shapes: `("(%s::type, ...), (...)", [value, ...])`
    """
    fields = tuple(_written_fields(type(rows[0])) if fields is None else fields)
    values = [field.get_db_prep_save(field.pre_save(row, adding), connection) for row in rows for field in fields]
    return ", ".join([_marks(fields)] * len(rows)), values


def update_rows(rows: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write the named fields of rows of one model.

    Cost: one statement.
    """
    if not rows:
        return
    meta = rows[0]._meta
    fields: list[Any] = [meta.pk, *(meta.get_field(name) for name in names)]
    marks, values = values_of(rows, fields=fields, adding=False)
    pk, *columns = [_quoted(field.column) for field in fields]
    assignments = ", ".join(f"{name} = changed.{name}" for name in columns)
    statement = (
        f"UPDATE {_quoted(meta.db_table)} AS stored SET {assignments} "  # noqa: S608
        f"FROM (VALUES {marks}) AS changed ({', '.join([pk, *columns])}) WHERE stored.{pk} = changed.{pk}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@contextmanager
def statement_limit(seconds: float) -> Iterator[None]:
    """Limit the time of each statement of a block that only reads.

    Errors: OperationalError if a statement takes longer. `is_canceled` of `workflows.database_errors` recognises it.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
        yield


def database_now() -> datetime:
    """Return the time of PostgreSQL's clock. Every time of acceptance comes from this clock.

    Cost: one statement.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _written_fields(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not field.generated]


def _quoted(name: Any) -> str:
    return connection.ops.quote_name(name)


@cache
def _marks(fields: tuple[Any, ...]) -> str:
    """Return one row of placeholders.

    Each placeholder has a cast, because a VALUES list does not tell PostgreSQL the types.
    """
    types = (field.rel_db_type(connection) if field.is_relation else field.db_type(connection) for field in fields)
    return f"({', '.join(f'%s::{name}' for name in types)})"
