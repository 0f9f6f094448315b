"""Uses of an action, an event type, a schema or a secret. Pages and API show them before something is changed.

The users are definitions, event types, schemas and connectors. A definition version counts as past if it is not the
published version and no open run uses it.
"""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from workflows.engine.json_schema.links import link_schema
from workflows.engine.secret_places import secret_references
from workflows.models import Connector, Definition, DefinitionVersion, EventType, PayloadSchema
from workflows.services.references import Referred, definition_references
from workflows.statuses import OPEN_RUN_STATUSES

MAX_USES = 100
# Text before the name in the canonical text of a definition. Canonical JSON has one form, and no string value can
# contain it, because the quotation marks in a string are escaped.
_TEXT_BEFORE = {
    Referred.ACTION: '"actionId": ',
    Referred.EVENT_TYPE: '"eventName": ',
    Referred.SCHEMA: 'ayloadSchemaRef": ',
    Referred.SECRET: '"$secret": ',
}


@dataclass(frozen=True)
class Use:
    """One user. Examples of `where`: `draft`, `published version 3`, `version 2 with 4 open runs`, `trigger`.

    `kind` is `definition`, `event_type`, `schema` or `connector`. `steps` has the paths in the definition.
    `row_id` is the id of the user's row. It leads to its page.
    """

    kind: str
    name: str
    where: str
    row_id: uuid.UUID
    version: int | None = None
    steps: tuple[str, ...] = ()
    is_past: bool = False

    def as_object(self) -> dict[str, Any]:
        """Return the use as JSON: `{kind, name, where, version?, steps?}`."""
        shown: dict[str, Any] = {"kind": self.kind, "name": self.name, "where": self.where}
        if self.version is not None:
            shown["version"] = self.version
        return {**shown, "steps": list(self.steps)} if self.steps else shown

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name} ({self.where})"


def uses_of(
    kind: Referred, name: str, *, tenant_id: uuid.UUID, version: int | None = None, with_past: bool = False
) -> list[Use]:
    """Return the users of a name, at most MAX_USES. Only an action has a version.

    Cost: two queries that search the texts of the tenant's definitions. For schemas and secrets, one or two more
    queries read all schemas or connectors of the tenant.
    """
    others = {Referred.SCHEMA: _users_of_schema, Referred.SECRET: _users_of_secret}.get(kind)
    users = list(others(tenant_id, name)) if others else []
    users += _definitions(kind, name, tenant_id, version=version, with_past=with_past)
    return users[:MAX_USES]


def connector_uses(row: Connector) -> list[Use]:
    """Return the published definition versions that call a connector version, also past ones. Drafts do not count."""
    # A limit before this filter could hide a published version behind many drafts.
    uses = _definitions(Referred.ACTION, row.action_id, row.tenant_id, version=row.version, with_past=True)
    return [use for use in uses if use.version is not None][:MAX_USES]


def schema_users(row: PayloadSchema) -> list[Use]:
    """Return everything that refers to a schema, also past definition versions."""
    return uses_of(Referred.SCHEMA, row.ref, tenant_id=row.tenant_id, with_past=True)


def schemas_that_refer_to(tenant_id: uuid.UUID, addresses: set[str], *, besides: str) -> list[Use]:
    """Return the schemas of the tenant that refer to one of these addresses. The schema `besides` is left out."""
    others = PayloadSchema.objects.filter(tenant_id=tenant_id).exclude(ref=besides).order_by("ref")
    return [
        Use("schema", ref, "$ref", pk)
        for pk, ref, schema in others.values_list("id", "ref", "schema").iterator()
        if addresses & _addresses_in(schema, ref)
    ][:MAX_USES]


def _addresses_in(schema: Any, ref: str) -> set[str]:
    """Return the addresses of all schemas that a check with this schema would load from the registry."""
    addresses: set[str] = set()
    link_schema(schema, load=addresses.add, base=ref)
    return addresses


def _users_of_schema(tenant_id: uuid.UUID, ref: str) -> Iterator[Use]:
    event_types = EventType.objects.filter(tenant_id=tenant_id, payload_schema_ref=ref).order_by("name")
    for pk, name in event_types.values_list("id", "name")[:MAX_USES]:
        yield Use("event_type", name, "payload schema", pk)
    schema = PayloadSchema.objects.filter(tenant_id=tenant_id, ref=ref).values_list("schema", flat=True).first()
    own = schema.get("$id") if isinstance(schema, dict) else None
    addresses = {ref, own.rstrip("#")} if isinstance(own, str) else {ref}
    yield from schemas_that_refer_to(tenant_id, addresses, besides=ref)


def _users_of_secret(tenant_id: uuid.UUID, name: str) -> Iterator[Use]:
    for row in Connector.objects.filter(tenant_id=tenant_id).order_by("action_id", "version"):
        parts = [row.spec.get(part) for part in ("query", "headers", "body")]
        if any(found == name for _, found in secret_references(parts)):
            yield Use("connector", row.action_id, "request", row.id, row.version)


def _definitions(kind: Referred, name: str, tenant_id: uuid.UUID, *, version: int | None, with_past: bool) -> list[Use]:
    text = _TEXT_BEFORE[kind] + json.dumps(name, ensure_ascii=False)
    rows = (
        DefinitionVersion.objects.filter(
            tenant_id=tenant_id, canonical_text__contains=text, definition__deleted_at=None
        )
        .select_related("definition")
        .annotate(open_runs=Count("runs", filter=Q(runs__status__in=OPEN_RUN_STATUSES)))
        .order_by("definition__key", "-version")
    )
    uses = []
    for row in rows.iterator(chunk_size=50):
        steps = _steps(kind, name, version, row.canonical_text)
        if steps:
            uses.append(_version_use(row, row.open_runs, steps))
    drafts = Definition.objects.filter(tenant_id=tenant_id, draft_text__contains=text, archived_at=None)
    for draft in drafts.order_by("key"):
        steps = _steps(kind, name, version, draft.draft_text)
        if steps:
            uses.append(Use("definition", draft.key, "draft", draft.id, steps=steps))
    if kind == Referred.SCHEMA:
        uses += _bound(tenant_id, name, {use.name for use in uses})
    return sorted((use for use in uses if with_past or not use.is_past), key=lambda use: use.name)


def _steps(kind: Referred, name: str, version: int | None, text: str) -> tuple[str, ...]:
    found = [
        reference.path
        for reference in definition_references(json.loads(text))
        if reference.kind == kind and reference.name == name and version in (None, reference.version)
    ]
    return tuple(dict.fromkeys(found))


def _version_use(row: DefinitionVersion, open_runs: int, steps: tuple[str, ...]) -> Use:
    definition = row.definition
    is_published = definition.published_version_id == row.id and definition.archived_at is None
    where = f"published version {row.version}" if is_published else f"version {row.version}"
    if open_runs:
        where += f" with {open_runs} open run{'s' if open_runs != 1 else ''}"
    return Use(
        "definition",
        definition.key,
        where,
        definition.id,
        row.version,
        steps,
        is_past=not is_published and not open_runs,
    )


def _bound(tenant_id: uuid.UUID, ref: str, found: set[str]) -> list[Use]:
    """Return the definitions whose row names the schema, although no text of the definition names it."""
    named = Q(payload_schema_ref=ref) | Q(pinned_payload_schema_ref=ref)
    rows = Definition.objects.filter(named, tenant_id=tenant_id).exclude(key__in=found).order_by("key")
    return [Use("definition", key, "payload schema", pk) for pk, key in rows.values_list("id", "key")]
