"""Placeholders for missing dependencies of a bundle (docs/reference/language.md#bundles)."""

import uuid
from typing import Any

from workflows.bundles.plan import Planned
from workflows.models import PayloadSchema


def placeholders_create(
    planned: Planned, missing: list[dict[str, Any]], *, tenant_id: uuid.UUID
) -> list[dict[str, str]]:
    """Create a placeholder for each missing schema. Return what must be replaced before publishing.

    The placeholder of a schema has the schema that the bundle pinned, as a proposal. A definition cannot be published
    while a schema is a placeholder, or while an action is not registered. An action needs no row: it exists as soon as
    a worker has it.

    Shapes: `{kind, name}`.
    """
    refs = [entry["name"] for entry in missing if entry["kind"] == "schema"]
    rows = [
        PayloadSchema(tenant_id=tenant_id, ref=ref, schema=_pinned_schema(planned, ref), is_placeholder=True)
        for ref in refs
    ]
    PayloadSchema.objects.bulk_create(rows, ignore_conflicts=True)
    return [{"kind": entry["kind"], "name": entry["name"]} for entry in missing if entry["blocks"]]


def _pinned_schema(planned: Planned, ref: str) -> dict[str, Any]:
    """Return the newest schema that the bundle pinned under this name. Return an empty schema if there is none."""
    for number, document in reversed(planned.workflow.versions.items()):
        schema = planned.workflow.schemas.get(number)
        if document.get("payloadSchemaRef") == ref and isinstance(schema, dict):
            return schema
    return {}
