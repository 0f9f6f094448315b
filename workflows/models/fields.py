"""Ids and JSON as this project stores them."""

import hashlib
import uuid
from typing import Any

from django.db import models
from psycopg.types.json import Json
from uuid_utils import compat


def new_id() -> uuid.UUID:
    """A UUIDv7: unique, and in the order of its time, so that an index on it grows at one end."""
    return compat.uuid7()


def row_id(at_ms: int, *parts: Any) -> uuid.UUID:
    """A UUIDv7 made of a time and of what the row is, so that a row that is made again has the id that it had."""
    digest = int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:10])
    value = (
        (at_ms & 0xFFFF_FFFF_FFFF) << 80 | 7 << 76 | (digest >> 68) << 64 | 0b10 << 62 | digest & 0x3FFF_FFFF_FFFF_FFFF
    )
    return uuid.UUID(int=value)


class OrderedJSONField(models.JSONField):
    """JSON that comes back exactly as it went in, key order included (PostgreSQL `json`, not `jsonb`).

    Payloads and scopes pass unchanged (docs/reference/api.md#scope), and an expression such as `payload.*` sees the order of keys, so a
    replayed input must not differ from the first one. `json` has no equality: never filter, group or DISTINCT on it.
    """

    def db_type(self, connection: Any) -> str:
        return "json"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value  # psycopg has parsed it already; Django's own parsing is for jsonb read as text

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value is None or isinstance(value, models.expressions.BaseExpression):
            return value
        return Json(value)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return self.get_db_prep_value(value, connection)


class TenantRow(models.Model):
    """What every table but `tenants` has: an id that sorts by time, and the tenant it belongs to."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    tenant = models.ForeignKey("workflows.Tenant", on_delete=models.PROTECT, related_name="+", editable=False)

    class Meta:
        abstract = True
