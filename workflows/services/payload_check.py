"""Payloads against their JSON Schema (2020-12). References are resolved from the tenant's registry only, never elsewhere."""

import uuid
from typing import Any

from django.db.models.fields.json import KeyTextTransform

from workflows.engine.json_schema.check import Problem, value_problems, whole_problem
from workflows.engine.json_schema.links import LinkedSchema, link_schema
from workflows.engine.sizes import json_size
from workflows.models import PayloadSchema

# Built in: any object.
ANY_SCHEMA = "payload.Any.v1"
# A small payload that takes long is a schema that multiplies its references; a large one may take its time.
STEPS_ALWAYS = 50_000
STEPS_PER_BYTE = 10


def known_schema_refs(tenant_id: uuid.UUID) -> frozenset[str]:
    return frozenset({ANY_SCHEMA, *_registered(tenant_id).values_list("ref", flat=True)})


def payload_problems(payload: Any, *, tenant_id: uuid.UUID, ref: str) -> list[Problem]:
    """What does not fit, up to 20, each with a JSON pointer; empty when all does."""
    return PayloadChecker(tenant_id).problems(payload, ref)


def payload_problem(payload: Any, *, tenant_id: uuid.UUID, ref: str) -> str | None:
    """A sentence with a pointer about the first thing that does not fit, or None when all does."""
    problems = payload_problems(payload, tenant_id=tenant_id, ref=ref)
    return f"{problems[0]['pointer'] or '/'}: {problems[0]['message']}" if problems else None


class PayloadChecker:
    """Checks of one tenant's payloads. Each schema is loaded once, so that a batch asks one of these.

    Cost: one query for a schema, one for the addresses of all when it refers to others, one for each of those.
    """

    def __init__(self, tenant_id: uuid.UUID) -> None:
        self.registry = SchemaRegistry(tenant_id)
        self._linked: dict[str, LinkedSchema | None] = {}

    def problems(self, payload: Any, ref: str) -> list[Problem]:
        if not isinstance(payload, dict):
            return whole_problem("the payload must be a JSON object")
        if ref == ANY_SCHEMA:
            return []
        if ref not in self._linked:
            self._linked[ref] = self._link(ref)
        linked = self._linked[ref]
        if linked is None:
            return whole_problem(f"the schema {ref!r} is not registered")
        return value_problems(linked, payload, max_steps=STEPS_ALWAYS + STEPS_PER_BYTE * json_size(payload))

    def _link(self, ref: str) -> LinkedSchema | None:
        schema = self.registry.named(ref)
        return None if schema is None else link_schema(schema, load=self.registry.load, base=ref)


class SchemaRegistry:
    """A tenant's schemas, by name and by `$id`; `unsaved` stands in the place of what is stored under its name."""

    def __init__(self, tenant_id: uuid.UUID, unsaved: dict[str, Any] | None = None) -> None:
        self.tenant_id = tenant_id
        self.unsaved = unsaved or {}
        self._ids: dict[str, str] | None = None

    def named(self, ref: str) -> Any:
        if ref in self.unsaved:
            return self.unsaved[ref]
        return _registered(self.tenant_id).filter(ref=ref).values_list("schema", flat=True).first()

    def load(self, address: str) -> Any:
        """The schema that a reference means: a registered name, or the `$id` of a registered schema; else None."""
        if address == ANY_SCHEMA:
            return {"type": "object"}
        ref = self._names().get(address)
        return None if ref is None else self.named(ref)

    def address_owner(self, address: str) -> str | None:
        """The name of the schema that a reference to this address means."""
        return self._names().get(address.rstrip("#"))

    def _names(self) -> dict[str, str]:
        """The name of every schema by the ways it can be referred to; a name counts before an `$id`."""
        if self._ids is None:
            pairs = dict(_registered(self.tenant_id).values_list("ref", KeyTextTransform("$id", "schema")))
            pairs |= {ref: schema.get("$id") for ref, schema in self.unsaved.items()}
            by_id = {str(own).rstrip("#"): ref for ref, own in pairs.items() if own}
            self._ids = {**by_id, **{ref: ref for ref in pairs}}
        return self._ids


def _registered(tenant_id: uuid.UUID) -> Any:
    return PayloadSchema.objects.filter(tenant_id=tenant_id, is_placeholder=False)
