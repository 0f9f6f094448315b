"""Facts about one tenant that validation reads only if a definition refers to them."""

import uuid
from typing import Any

from django.conf import settings

from workflows.engine.json_schema.links import LinkedSchema, link_schema
from workflows.engine.validate import KnownEvent
from workflows.models import DefinitionVersion, EventType
from workflows.services.payload_check import ANY_SCHEMA, SchemaRegistry

# Entry of the event catalogue, and of the environment, whose correlation paths apply to every event.
ANY_EVENT = "*"


class TenantFacts:
    """Facts about one tenant, for one validation or one import.

    `document` is the document that is validated. Its schemas and called versions are read together.
    Cost: one query for all schemas, one for all called versions, one for all event types. Schemas that refer to other
    schemas cost one more query each.
    """

    def __init__(self, tenant_id: uuid.UUID) -> None:
        self._tenant_id = tenant_id
        self._registry = SchemaRegistry(tenant_id)
        self._schemas: dict[str, LinkedSchema | None] = {}
        self._definitions: dict[tuple[str, int], dict[str, Any] | None] = {}
        self._events: dict[str, EventType] | None = None

    def schema(self, ref: str) -> LinkedSchema | None:
        """Return a payload schema with its references. Return None if there is no such schema."""
        if ref not in self._schemas:
            found = None if ref in ("", ANY_SCHEMA) else self._registry.named(ref)
            self._schemas[ref] = None if found is None else link_schema(found, load=self._registry.load, base=ref)
        return self._schemas[ref]

    def definition(self, name: str, version: int) -> dict[str, Any] | None:
        """Return the document of a published version, by the key or the id of its definition."""
        if (name, version) not in self._definitions:
            rows = DefinitionVersion.objects.filter(
                tenant_id=self._tenant_id,
                definition__archived_at=None,
                definition__deleted_at=None,
                version=version,
            )
            own_id = _id(name)
            row = rows.filter(definition__key=name).first()
            if row is None and own_id is not None:
                row = rows.filter(definition_id=own_id).first()
            self._definitions[name, version] = None if row is None else row.document()
        return self._definitions[name, version]

    def event(self, name: str) -> KnownEvent | None:
        """Return the event type with the correlation paths that apply: those of its entry, then those of `*`.

        Return None for an event without an entry and without paths. Its senders can give the keys themselves.
        """
        if self._events is None:
            rows = EventType.objects.filter(tenant_id=self._tenant_id, is_active=True)
            self._events = {row.name: row for row in rows}
        row = self._events.get(name)
        paths = tuple(path for entry in (name, ANY_EVENT) for path in self._paths(entry))
        if row is None:
            return KnownEvent(paths) if paths else None
        return KnownEvent(paths, row.payload_schema_ref)

    def _paths(self, entry: str) -> tuple[str, ...]:
        row = (self._events or {}).get(entry)
        if row is not None and row.correlation_paths:
            return tuple(row.correlation_paths)
        return tuple(settings.EVENT_CORRELATION_PATHS.get(entry, ()))


def _id(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name)
    except ValueError:
        return None
