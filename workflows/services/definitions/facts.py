"""Facts about one tenant that validation reads only if a definition refers to them."""

import uuid
from collections.abc import Iterable
from typing import Any

from django.conf import settings

from workflows.bundles.dependencies import dependencies_of
from workflows.engine.json_schema.links import LinkedSchema, link_schema
from workflows.engine.validate import KnownEvent
from workflows.models import DefinitionVersion, EventType
from workflows.selectors.called_definitions import Call, called_versions
from workflows.services.payload_check import ANY_SCHEMA, SchemaRegistry

# Entry of the event catalogue, and of the environment, whose correlation paths apply to every event.
ANY_EVENT = "*"


class TenantFacts:
    """Facts about one tenant, for one validation or one import.

    `documents` are the documents that are validated. What they name is read together, when the first fact is needed.
    Cost: one statement for the event types, one for each level of called versions, and one for each level of schemas.
    What other documents name costs one statement for each schema and for each called version.
    """

    def __init__(self, tenant_id: uuid.UUID, documents: Iterable[Any] = ()) -> None:
        self._tenant_id = tenant_id
        self._registry = SchemaRegistry(tenant_id)
        self._schemas: dict[str, LinkedSchema | None] = {}
        self._definitions: dict[Call, dict[str, Any] | None] = {}
        self._event_types: dict[str, EventType] | None = None
        self._named = dependencies_of(document for document in documents if isinstance(document, dict))
        self._is_read = False

    def schema(self, ref: str) -> LinkedSchema | None:
        """Return a payload schema with its references. Return None if there is no such schema."""
        self._read_named()
        if ref not in self._schemas:
            found = None if ref in ("", ANY_SCHEMA) else self._registry.named(ref)
            self._schemas[ref] = None if found is None else link_schema(found, load=self._registry.load, base=ref)
        return self._schemas[ref]

    def definition(self, name: str, version: int) -> dict[str, Any] | None:
        """Return the document of a published version, by the key or the id of its definition."""
        self._read_named()
        if (name, version) not in self._definitions:
            # A called version is read with the versions that the definitions on its level call.
            below = dependencies_of(document for document in self._definitions.values() if document is not None)
            self._read_definitions({(name, version), *below.children})
        return self._definitions[name, version]

    def _read_named(self) -> None:
        """Read what the documents name: the called versions, and the schemas of the documents, of these versions and
        of the event types.
        """
        if self._is_read:
            return
        self._is_read = True
        self._read_definitions(self._named.children)
        refs = dependencies_of(document for document in self._definitions.values() if document is not None).schema_refs
        if self._named.event_names:
            types = self._types()
            refs |= {types[name].payload_schema_ref for name in self._named.event_names if name in types}
        self._registry.read_all(refs | self._named.schema_refs)

    def _read_definitions(self, calls: set[Call]) -> None:
        wanted = calls - self._definitions.keys()
        versions = DefinitionVersion.objects.filter(
            tenant_id=self._tenant_id, definition__archived_at=None, definition__deleted_at=None
        )
        found = called_versions(versions, wanted)
        self._definitions |= {call: found[call].document() if call in found else None for call in wanted}

    def _types(self) -> dict[str, EventType]:
        if self._event_types is None:
            rows = EventType.objects.filter(tenant_id=self._tenant_id, is_active=True)
            self._event_types = {row.name: row for row in rows}
        return self._event_types

    def event(self, name: str) -> KnownEvent | None:
        """Return the event type with the correlation paths that apply: those of its entry, then those of `*`.

        Return None for an event without an entry and without paths. Its senders can give the keys themselves.
        """
        row = self._types().get(name)
        paths = tuple(path for entry in (name, ANY_EVENT) for path in self._paths(entry))
        if row is None:
            return KnownEvent(paths) if paths else None
        return KnownEvent(paths, row.payload_schema_ref)

    def _paths(self, entry: str) -> tuple[str, ...]:
        row = self._types().get(entry)
        if row is not None and row.correlation_paths:
            return tuple(row.correlation_paths)
        return tuple(settings.EVENT_CORRELATION_PATHS.get(entry, ()))
