"""Writing many rows in one statement, where Django's own way takes several or a long CASE for each column.

`INSERT ... VALUES` with what the fields themselves prepare, and `UPDATE ... FROM (VALUES ...)`. No hand-written list of
columns: a new field of a model is written without a change here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection, models


@cache
def columns_of(model: type[models.Model]) -> str:
    return ", ".join(_quoted(field.column) for field in model._meta.concrete_fields)


def values_of(
    rows: Sequence[models.Model], *, fields: Sequence[Any] | None = None, adding: bool
) -> tuple[str, list[Any]]:
    """`(%s::type, ...), (...)` for these rows of one model, and what stands for the marks."""
    fields = tuple(rows[0]._meta.concrete_fields if fields is None else fields)
    values = [field.get_db_prep_save(field.pre_save(row, adding), connection) for row in rows for field in fields]
    return ", ".join([_marks(fields)] * len(rows)), values


def update_rows(rows: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write these fields of rows of one model, all in one statement."""
    if not rows:
        return
    meta = rows[0]._meta
    fields: list[Any] = [meta.pk, *(meta.get_field(name) for name in names)]
    marks, values = values_of(rows, fields=fields, adding=False)
    pk, *columns = [_quoted(field.column) for field in fields]
    statement = (
        f"UPDATE {_quoted(meta.db_table)} AS stored SET {', '.join(f'{name} = changed.{name}' for name in columns)} "  # noqa: S608
        f"FROM (VALUES {marks}) AS changed ({', '.join([pk, *columns])}) WHERE stored.{pk} = changed.{pk}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def _quoted(name: Any) -> str:
    return connection.ops.quote_name(name)


@cache
def _marks(fields: tuple[Any, ...]) -> str:
    """`(%s::uuid, ...)`: a row of a VALUES list tells no types by itself."""
    types = (field.rel_db_type(connection) if field.is_relation else field.db_type(connection) for field in fields)
    return f"({', '.join(f'%s::{name}' for name in types)})"
