"""Base class of tenant tables, ids of rows, and a JSON field that keeps the order of keys."""

import hashlib
import uuid
from typing import Any

from django.db import models
from django.db.models.functions import Reverse
from psycopg.types.json import Json, set_json_loads
from uuid_utils import compat

from workflows.json_numbers import read_stored_json, write_json


def new_id() -> uuid.UUID:
    """Return a new UUIDv7. UUIDv7 values are ordered by time, so an index on them grows at one end only."""
    return compat.uuid7()


def row_id(at_ms: int, *parts: Any) -> uuid.UUID:
    """Return a UUIDv7 from a time and the parts that identify a row.

    Idempotency: the same arguments give the same id, so a projection row that is rebuilt keeps its id.
    Units: `at_ms` is in epoch milliseconds.
    """
    digest = int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:10])
    value = (
        (at_ms & 0xFFFF_FFFF_FFFF) << 80 | 7 << 76 | (digest >> 68) << 64 | 0b10 << 62 | digest & 0x3FFF_FFFF_FFFF_FFFF
    )
    return uuid.UUID(int=value)


def short_id(value: uuid.UUID | str) -> str:
    """Return the beginning of a UUIDv7, which the searches find: its time in milliseconds and random digits."""
    return str(value)[: len("0193a1b2-c3d4-7abc")]


# psycopg parses columns of type `json` with this function. Django reads `jsonb` columns as text and parses them itself.
set_json_loads(read_stored_json)


class OrderedJSONField(models.JSONField):
    """JSON field that returns a value exactly as stored, with key order and digits (PostgreSQL `json`, not `jsonb`).

    An expression such as `payload.*` depends on the order of keys. The input of a replay must therefore have the same
    order as the first input.
    The type `json` has no equality operator. Do not filter, group or use DISTINCT on such a field.
    """

    def db_type(self, connection: Any) -> str:
        return "json"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value  # psycopg has already parsed the value; Django's own parsing expects text

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is None or isinstance(value, models.expressions.BaseExpression):
            return value
        return Json(value, dumps=write_json)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return self.get_db_prep_value(value, connection)


FOLDED_LENGTH = 200


def folded(text: str) -> str:
    """Return the form of a text in which letter case does not matter, cut to `FOLDED_LENGTH` characters."""
    return text.casefold()[:FOLDED_LENGTH]


def folded_prefix(name: str, prefix: str) -> models.Q:
    """Return the condition that a `FoldedField` begins with a text, in any letter case.

    The condition is a range, because row-level security lets only leakproof operators use an index.
    """
    low = folded(prefix)
    return models.Q(**{f"{name}__gte": low, f"{name}__lt": f"{low}\U0010ffff"})


def folded_suffix(name: str, suffix: str) -> models.Q:
    """Return the condition that a `reversed_field` ends with a text, in any letter case."""
    low = folded(suffix)[::-1]
    return models.Q(**{f"{name}__gte": low, f"{name}__lt": f"{low}\U0010ffff"})


def reversed_field(source: str) -> models.GeneratedField:
    """Return the column with the reversed text of a `FoldedField`, for searches by the end of the text.

    PostgreSQL computes the column. Of a text longer than `FOLDED_LENGTH` the end is not stored.
    """
    text = models.CharField(max_length=FOLDED_LENGTH, db_collation="C")
    return models.GeneratedField(expression=Reverse(source), output_field=text, db_persist=True)


class FoldedField(models.CharField):
    """Copy of another text field of the row for searches by prefix in any letter case.

    Each write computes the copy. The collation "C" lets an index find a prefix.
    """

    def __init__(self, *args: Any, source: str, **options: Any) -> None:
        self.source = source
        fixed = {"max_length": FOLDED_LENGTH, "db_collation": "C", "editable": False, "blank": True}
        super().__init__(*args, **{**options, **fixed})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for fixed in ("max_length", "db_collation", "editable", "blank"):
            options.pop(fixed, None)
        return name, path, args, {**options, "source": self.source}

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        value = folded(getattr(model_instance, self.source))
        setattr(model_instance, self.attname, value)
        return value


class TenantRow(models.Model):
    """Base class of every table except `tenants`: a time-ordered id and the tenant.

    A new tenant table also needs `EnableTenantPolicy` in its migration (`workflows/models/row_level_security.py`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey("workflows.Tenant", on_delete=models.PROTECT, related_name="+", editable=False)

    class Meta:
        abstract = True
