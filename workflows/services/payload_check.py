"""Check of payloads against their JSON Schema (2020-12).

References are resolved only from the tenant's own registry, never from the network or from another tenant.
"""

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models.fields.json import KeyTextTransform

from workflows.engine.json_schema.check import Problem, counted_problems, whole_problem
from workflows.engine.json_schema.links import LinkedSchema, foreign_addresses, link_schema
from workflows.engine.sizes import json_size
from workflows.models import PayloadSchema

# Built-in schema that accepts every object.
ANY_SCHEMA = "payload.Any.v1"
# Limit on the steps of one check. If a small payload needs many steps, the schema probably multiplies its references. A
# large payload may take more steps.
STEPS_ALWAYS = 50_000
STEPS_PER_BYTE = 10
# Limit on the steps of all checks of one request. The limit corresponds to about two seconds. Without it, each event of
# a batch could take as long as the largest event.
STEPS_PER_REQUEST = 2_000_000


def known_schema_refs(tenant_id: uuid.UUID) -> frozenset[str]:
    """Return the names of all schemas that the tenant can use. The built-in schema is included."""
    return frozenset({ANY_SCHEMA, *registered_schemas(tenant_id).values_list("ref", flat=True)})


def payload_problems(payload: Any, *, tenant_id: uuid.UUID, ref: str) -> list[Problem]:
    """Return at most 20 problems of a payload, each with a JSON pointer. The list is empty if the payload is valid."""
    return PayloadChecker(tenant_id).problems(payload, ref)


def payload_problem(payload: Any, *, tenant_id: uuid.UUID, ref: str) -> str | None:
    """Return the first problem of a payload as text with its JSON pointer. Return None if the payload is valid."""
    problems = payload_problems(payload, tenant_id=tenant_id, ref=ref)
    return f"{problems[0]['pointer'] or '/'}: {problems[0]['message']}" if problems else None


class PayloadChecker:
    """Check of payloads of one tenant.

    Use one object for a whole request. The object loads each schema once and counts the steps of all checks.

    Cost: one query for each schema. If a schema has references, one more query reads the addresses of all schemas, and
    one more query reads each referenced schema.
    """

    def __init__(self, tenant_id: uuid.UUID) -> None:
        self.registry = SchemaRegistry(tenant_id)
        self._linked: dict[str, LinkedSchema | None] = {}
        self._steps_left = STEPS_PER_REQUEST

    @property
    def is_exhausted(self) -> bool:
        """Return True if no steps are left, so that the last check is incomplete."""
        return self._steps_left <= 0

    def problems(self, payload: Any, ref: str) -> list[Problem]:
        if not isinstance(payload, dict):
            return whole_problem("the payload must be a JSON object")
        if ref == ANY_SCHEMA:
            return []
        if ref not in self._linked:
            self._linked[ref] = self._link(ref)
        linked = self._linked[ref]
        if linked is None:
            return whole_problem(f"the schema {ref!r} is not registered; register it, or name another schema")
        wanted = STEPS_ALWAYS + STEPS_PER_BYTE * json_size(payload)
        allowed = min(wanted, self._steps_left)
        problems, steps = counted_problems(linked, payload, max_steps=allowed)
        self._steps_left -= steps
        if steps == allowed < wanted:
            return whole_problem(
                f"cannot be checked: the checks of one request may take {STEPS_PER_REQUEST} steps together; send fewer"
                " events in one request, or simplify the schema"
            )
        return problems

    def _link(self, ref: str) -> LinkedSchema | None:
        schema = self.registry.named(ref)
        return None if schema is None else link_schema(schema, load=self.registry.load, base=ref)


class SchemaRegistry:
    """Schemas of one tenant, by name and by `$id`. A schema in `unsaved` replaces the stored one of the same name."""

    def __init__(self, tenant_id: uuid.UUID, unsaved: dict[str, Any] | None = None) -> None:
        self.tenant_id = tenant_id
        self.unsaved = unsaved or {}
        self._ids: dict[str, str] | None = None
        self._read: dict[str, Any] = {}  # None for a name that no schema has

    def read_all(self, refs: Iterable[str]) -> None:
        """Read these schemas, and the schemas to which they refer by name or `$id`.

        Cost: one statement for each level of references, and one for the addresses of all schemas if there are any.
        """
        wanted = {*refs} - self._read.keys() - {"", ANY_SCHEMA}
        while wanted:
            rows = dict(registered_schemas(self.tenant_id).filter(ref__in=wanted).values_list("ref", "schema"))
            self._read |= {ref: rows.get(ref) for ref in wanted}
            addresses = {address for schema in rows.values() for address in foreign_addresses(schema)}
            names = self._names() if addresses else {}
            wanted = {names[address] for address in addresses if address in names} - self._read.keys()

    def named(self, ref: str) -> Any:
        """Return the schema with this name. Return None if there is no such schema."""
        if ref in self.unsaved:
            return self.unsaved[ref]
        if ref in self._read:
            return self._read[ref]
        return registered_schemas(self.tenant_id).filter(ref=ref).values_list("schema", flat=True).first()

    def load(self, address: str) -> Any:
        """Return the schema with this registered name or `$id`. Return None if there is no such schema."""
        if address == ANY_SCHEMA:
            return {"type": "object"}
        ref = self._names().get(address)
        return None if ref is None else self.named(ref)

    def registered_name(self, address: str) -> str | None:
        """Return the name of the registered schema with this name or `$id`. Return None if there is no such schema."""
        return ANY_SCHEMA if address == ANY_SCHEMA else self.address_owner(address)

    def address_owner(self, address: str) -> str | None:
        """Return the name of the schema that has this name or `$id`. Return None if there is no such schema."""
        return self._names().get(address.rstrip("#"))

    def _names(self) -> dict[str, str]:
        """Return the names of the schemas by address. The addresses of a schema are its name and its `$id`.

        If a name and an `$id` are equal, the schema with this name is returned.
        """
        if self._ids is None:
            pairs = dict(registered_schemas(self.tenant_id).values_list("ref", KeyTextTransform("$id", "schema")))
            pairs |= {ref: schema.get("$id") for ref, schema in self.unsaved.items()}
            by_id = {str(own).rstrip("#"): ref for ref, own in pairs.items() if own}
            self._ids = {**by_id, **{ref: ref for ref in pairs}}
        return self._ids


def registered_schemas(tenant_id: uuid.UUID) -> Any:
    """Return the schemas of a tenant without placeholders."""
    return PayloadSchema.objects.filter(tenant_id=tenant_id, is_placeholder=False)
