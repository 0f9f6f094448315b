"""Uses of a payload schema by event types, definitions, definition versions and other schemas."""

import json
import uuid
from typing import Any

from workflows.engine.json_schema.links import link_schema
from workflows.models import Definition, DefinitionVersion, EventType, PayloadSchema

MAX_USERS = 100
User = dict[str, Any]


def schema_users(row: PayloadSchema) -> list[User]:
    """Return everything that refers to a schema, at most MAX_USERS.

    Shapes: `{kind: "event_type" | "definition" | "schema", name, version?}`.
    Cost: four queries. One query searches the texts of the tenant's definition versions. Another query reads all
    schemas of the tenant.
    """
    event_types = EventType.objects.filter(tenant_id=row.tenant_id, payload_schema_ref=row.ref).order_by("name")
    users: list[User] = [
        {"kind": "event_type", "name": name} for name in event_types.values_list("name", flat=True)[:MAX_USERS]
    ]
    users += _definitions(row)
    addresses = {row.ref}
    if isinstance(row.schema, dict) and isinstance(row.schema.get("$id"), str):
        addresses.add(row.schema["$id"].rstrip("#"))
    return (users + schemas_that_refer_to(row.tenant_id, addresses, besides=row.ref))[:MAX_USERS]


def schemas_that_refer_to(tenant_id: uuid.UUID, addresses: set[str], *, besides: str) -> list[User]:
    """Return the schemas of the tenant that refer to one of these addresses. The schema `besides` is left out."""
    others = PayloadSchema.objects.filter(tenant_id=tenant_id).exclude(ref=besides).order_by("ref")
    return [
        {"kind": "schema", "name": ref}
        for ref, schema in others.values_list("ref", "schema").iterator()
        if addresses & _addresses_in(schema, ref)
    ][:MAX_USERS]


def _addresses_in(schema: Any, ref: str) -> set[str]:
    """Return the addresses of all schemas that a check with this schema would load from the registry."""
    addresses: set[str] = set()
    link_schema(schema, load=addresses.add, base=ref)
    return addresses


def _definitions(row: PayloadSchema) -> list[User]:
    """Return the definition versions that name the schema in their text, and the definitions that are bound to it."""
    # This text matches the keys `payloadSchemaRef` and `sourcePayloadSchemaRef` of canonical JSON.
    named = f'ayloadSchemaRef": {json.dumps(row.ref, ensure_ascii=False)}'
    versions = (
        DefinitionVersion.objects.filter(tenant_id=row.tenant_id, canonical_text__contains=named)
        .filter(definition__deleted_at=None)
        .order_by("definition__key", "-version")
        .values_list("definition__key", "version")[:MAX_USERS]
    )
    users: list[User] = [{"kind": "definition", "name": key, "version": number} for key, number in versions]
    bound = Definition.objects.filter(tenant_id=row.tenant_id).order_by("key")
    bound = bound.filter(payload_schema_ref=row.ref) | bound.filter(pinned_payload_schema_ref=row.ref)
    found = {user["name"] for user in users}
    return users + [
        {"kind": "definition", "name": key} for key in bound.values_list("key", flat=True) if key not in found
    ]
