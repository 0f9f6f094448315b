"""Base class of tenant tables, ids of rows, and a JSON field that keeps the order of keys."""

import hashlib
import uuid
from typing import Any

from django.db import models
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


class TenantRow(models.Model):
    """Base class of every table except `tenants`: a time-ordered id and the tenant.

    A new tenant table also needs `EnableTenantPolicy` in its migration (`workflows/models/row_level_security.py`).
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey("workflows.Tenant", on_delete=models.PROTECT, related_name="+", editable=False)

    class Meta:
        abstract = True
