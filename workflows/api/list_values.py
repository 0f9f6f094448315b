"""Payloads in lists. A list contains only short values. A client can read long values at the URL of the row.

A payload of 1 MB can take 50 MB of memory as Python objects. So PostgreSQL decides which values are short, and the web
process never reads long values.
"""

from collections.abc import Collection
from typing import Any

from django.db.models import BooleanField, Case, F, Func, IntegerField, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Length
from django.db.models.lookups import GreaterThan

MAX_SIZE_IN_LIST = 16_384
OMITTED = "values_omitted"


def with_short_values(rows: QuerySet[Any], paths: Collection[str]) -> QuerySet[Any]:
    """Return the rows with their short JSON values, but without long JSON values.

    `take_short_values` puts the short values into each row.

    Shapes: a path is the name of a field, or a relation and a field (`event__payload`).
    Units: the limit is in characters of JSON.
    """
    for path in paths:
        field = _field(rows.model, path)
        # This is the size after compression. PostgreSQL knows this size without reading the value, so this test is
        # first.
        stored_size = Func(F(path), function="pg_column_size", output_field=IntegerField())
        length = Length(Cast(path, TextField()))
        is_long = Case(
            When(GreaterThan(stored_size, MAX_SIZE_IN_LIST), then=Value(True)),
            When(GreaterThan(length, MAX_SIZE_IN_LIST), then=Value(True)),
            default=Value(False),
            output_field=BooleanField(),
        )
        long_name, short_name = _names(path)
        rows = rows.annotate(**{long_name: is_long}).annotate(
            **{short_name: Case(When(**{long_name: True}, then=Value(None)), default=F(path), output_field=field)}
        )
    return rows.defer(*paths)


def take_short_values(row: Any, paths: Collection[str]) -> list[str]:
    """Put the values of `with_short_values` into a row and its related rows. Return the paths that have long values.

    A long value becomes None. Its row gets the attribute `values_omitted` with the names of such fields.
    """
    omitted = []
    for path in paths:
        long_name, short_name = _names(path)
        if short_name not in row.__dict__:
            continue
        *relations, name = path.split("__")
        target = row
        for relation in relations:
            target = getattr(target, relation)
        target.__dict__[name] = row.__dict__.pop(short_name)
        if row.__dict__.pop(long_name):
            omitted.append(path)
            target.__dict__.setdefault(OMITTED, set()).add(name)
    return omitted


def _names(path: str) -> tuple[str, str]:
    name = path.replace("__", "_")
    return f"list_{name}_is_long", f"list_{name}"


def _field(model: Any, path: str) -> Any:
    *relations, name = path.split("__")
    for relation in relations:
        model = model._meta.get_field(relation).related_model
    return model._meta.get_field(name)
