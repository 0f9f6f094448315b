"""Registry of payload schemas (docs/reference/events.md#statuses-and-outcomes).

A schema is saved only if payloads can be checked against it. A schema cannot be deleted while a definition, an event
type or another schema refers to it.
"""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError

from workflows.actors import Actor
from workflows.engine.json_schema.check import Problem, json_pointer
from workflows.engine.json_schema.compatibility import Change, breaking_changes
from workflows.engine.json_schema.faults import schema_faults
from workflows.engine.json_schema.links import link_schema
from workflows.engine.sizes import json_size
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import PayloadSchema
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.payload_check import ANY_SCHEMA, SchemaRegistry
from workflows.services.references import Referred
from workflows.services.roles import require_role
from workflows.services.uses import Use, schema_users, schemas_that_refer_to, uses_of
from workflows.statuses import CommandAction, Role

MAX_SCHEMA_BYTES = 262_144
# A slash is not allowed, because the reference is a part of API paths.
REF_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}"


@dataclass(frozen=True)
class SavedSchema:
    """Result of a save.

    `warnings` list references to missing schemas. If the check of a value needs a missing schema, the value is invalid.
    """

    row: PayloadSchema
    is_new: bool
    warnings: list[Problem]


def schema_save(
    *,
    actor: Actor,
    ref: str,
    schema: Any,
    title: str = "",
    must_be_new: bool = False,
    force: bool = False,
    idempotency_key: str = "",
) -> SavedSchema:
    """Register a schema, or replace the schema with this name.

    From now on, payloads are checked against the new schema. With `force`, also store a change that can break users.

    Errors: PermissionRefused; InputInvalid SCHEMA_INVALID with all problems; Conflict SCHEMA_EXISTS; Conflict
    SCHEMA_IN_USE if other schemas refer to an `$id` that the new schema does not have; Conflict SCHEMA_CHANGE_BREAKS
    with the changes and the users.
    """
    payload = {"operation": "save", "title": target_name(title), "force": force, **_fingerprint(schema)}
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_SCHEMA,
        target_type="schema",
        target_id=target_name(ref),
        payload=payload,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.AUTHOR, to="edit payload schemas")
        problems = schema_problems(tenant_id=actor.tenant_id, ref=ref, schema=schema, title=title)
        if problems:
            raise _invalid(problems)
        impact = schema_impact(tenant_id=actor.tenant_id, ref=ref, schema=schema)
        if impact.needs_force and not force and not must_be_new:
            raise _breaks(ref, impact)
        saved = _stored(actor, ref, schema, title, must_be_new=must_be_new)
        command.details = {"created": saved.is_new, "warnings": saved.warnings, **impact.as_object()}
        return saved


@dataclass(frozen=True)
class SchemaImpact:
    """Changes of a stored schema that can break its users, and the users. Past definition versions are left out."""

    changes: list[Change]
    uses: list[Use]

    @property
    def needs_force(self) -> bool:
        return bool(self.changes and self.uses)

    def as_object(self) -> dict[str, Any]:
        """Return the impact as JSON: `{changes: [{pointer, affects, message}], usedBy: [...]}`."""
        return {
            "changes": [change.as_object() for change in self.changes],
            "usedBy": [use.as_object() for use in self.uses],
        }


def schema_impact(*, tenant_id: uuid.UUID, ref: str, schema: Any) -> SchemaImpact:
    """Return what a new text of a schema would break. Nothing is stored. A new name and a placeholder break nothing."""
    row = PayloadSchema.objects.filter(tenant_id=tenant_id, ref=ref, is_placeholder=False).first()
    changes = breaking_changes(row.schema, schema) if row is not None else []
    return SchemaImpact(changes, uses_of(Referred.SCHEMA, ref, tenant_id=tenant_id) if changes else [])


def schema_check(*, tenant_id: uuid.UUID, ref: str, schema: Any) -> SchemaImpact:
    """Return what a valid new text of a stored schema would break. Nothing is stored.

    Errors: NotFound; InputInvalid SCHEMA_INVALID with all problems.
    """
    schema_find(tenant_id=tenant_id, ref=ref)
    problems = schema_problems(tenant_id=tenant_id, ref=ref, schema=schema)
    if problems:
        raise _invalid(problems)
    return schema_impact(tenant_id=tenant_id, ref=ref, schema=schema)


def schema_problems(*, tenant_id: uuid.UUID, ref: Any, schema: Any, title: Any = "") -> list[dict[str, str]]:
    """Return all problems that prevent the registration of a schema under this name.

    Shapes: `{field, pointer, message}`.
    """
    problems = []
    if ref == ANY_SCHEMA:
        problems.append(_problem("ref", "is the name of a built-in schema; choose another name"))
    elif not isinstance(ref, str) or not re.fullmatch(REF_PATTERN, ref):
        problems.append(_problem("ref", f"must match {REF_PATTERN}"))
    if not isinstance(title, str) or len(title) > 200 or storable_problem(title):
        problems.append(_problem("title", "must be text of at most 200 characters"))
    unstorable = storable_problem(schema)
    if unstorable is not None:
        problems.append(_problem("schema", unstorable[1], unstorable[0]))
    elif not isinstance(schema, dict):
        problems.append(_problem("schema", "must be a JSON object"))
    else:
        faults = schema_faults(schema, max_bytes=MAX_SCHEMA_BYTES) or _address_problems(tenant_id, ref, schema)
        problems += [_problem("schema", fault["message"], fault["pointer"]) for fault in faults]
    return problems


def _problem(field: str, message: str, pointer: str = "") -> dict[str, str]:
    return {"field": field, "pointer": pointer, "message": message}


def _address_problems(tenant_id: uuid.UUID, ref: Any, schema: dict[str, Any]) -> list[Problem]:
    """Return a problem if another schema of the tenant has the same `$id`."""
    own = schema.get("$id")
    taken = SchemaRegistry(tenant_id).address_owner(own) if own else None
    return [] if taken in (None, ref) else [{"pointer": "/$id", "message": f"is the address of the schema {taken}"}]


def schema_warnings(*, tenant_id: uuid.UUID, ref: str, schema: Any) -> list[Problem]:
    """Return a warning for each reference to a schema that is not registered. At most 20 warnings are returned."""
    registry = SchemaRegistry(tenant_id, {ref: schema})
    missing = link_schema(schema, load=registry.load, base=ref).missing.values()
    return [
        Problem(pointer=json_pointer(place), message=f"refers to {reference[:120]!r}, which is not registered")
        for reference, place in missing
    ][:20]


def schema_delete(*, actor: Actor, ref: str, idempotency_key: str = "") -> None:
    """Delete a schema that nothing refers to.

    Errors: PermissionRefused, NotFound; Conflict SCHEMA_IN_USE with the list of its users.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_SCHEMA,
        target_type="schema",
        target_id=target_name(ref),
        payload={"operation": "delete"},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.AUTHOR, to="delete payload schemas")
        row = _locked(actor.tenant_id, ref)
        if row is None:
            raise _unknown(ref)
        users = schema_users(row)
        if users:
            raise _in_use(ref, users)
        row.delete()


def require_schema_role(*, actor: Actor, ref: str = "") -> None:
    """Refuse an actor who may not edit schemas.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    require_role(
        actor=actor,
        needs=Role.AUTHOR,
        to="edit payload schemas",
        action=CommandAction.EDIT_SCHEMA,
        target_type="schema",
        target_id=target_name(ref),
    )


def schema_find(*, tenant_id: uuid.UUID, ref: str) -> PayloadSchema:
    """Return the schema of this tenant.

    Errors: NotFound. A schema of another tenant counts as not found.
    """
    row = PayloadSchema.objects.filter(tenant_id=tenant_id, ref=ref).first()
    if row is None:
        raise _unknown(ref)
    return row


def _stored(actor: Actor, ref: str, schema: Any, title: str, *, must_be_new: bool) -> SavedSchema:
    row = _locked(actor.tenant_id, ref)
    if row is not None and must_be_new:
        raise _exists(ref)
    is_new = row is None
    row = row or PayloadSchema(tenant_id=actor.tenant_id, ref=ref)
    _require_address_free_to_change(row, schema)
    row.title, row.schema, row.is_placeholder = title, schema, False
    try:
        row.save(force_insert=is_new)
    except IntegrityError as error:
        raise _exists(ref) from error
    return SavedSchema(row, is_new, schema_warnings(tenant_id=actor.tenant_id, ref=ref, schema=schema))


def _require_address_free_to_change(row: PayloadSchema, schema: Any) -> None:
    """Refuse a new `$id` while other schemas refer to the old `$id`.

    Errors: Conflict SCHEMA_IN_USE.
    """
    before = row.schema.get("$id") if isinstance(row.schema, dict) else None
    if isinstance(before, str) and before != schema.get("$id"):
        users = schemas_that_refer_to(row.tenant_id, {before.rstrip("#")}, besides=row.ref)
        if users:
            raise _in_use(before, users)


def _locked(tenant_id: uuid.UUID, ref: str) -> PayloadSchema | None:
    return PayloadSchema.objects.select_for_update().filter(tenant_id=tenant_id, ref=ref).first()


def _exists(ref: str) -> Conflict:
    return Conflict(f"the schema {ref!r} exists already; edit it, or choose another name", code="SCHEMA_EXISTS")


def _unknown(ref: str) -> NotFound:
    return NotFound(f"there is no schema {ref[:200]!r}", code="SCHEMA_NOT_FOUND")


def _invalid(problems: list[dict[str, str]]) -> InputInvalid:
    first = problems[0]
    return InputInvalid(
        f"{first['field']}{first['pointer']} {first['message']}", code="SCHEMA_INVALID", details={"problems": problems}
    )


def _breaks(ref: str, impact: SchemaImpact) -> Conflict:
    first, count = impact.changes[0], len(impact.uses)
    return Conflict(
        f"the change of {ref!r} can break {impact.uses[0]}{f' and {count - 1} more' if count > 1 else ''}:"
        f" {first.pointer or '/'}: {first.message}; save the schema under a new name, or confirm the change",
        code="SCHEMA_CHANGE_BREAKS",
        details=impact.as_object(),
    )


def _in_use(name: str, users: list[Use]) -> Conflict:
    names = ", ".join(map(str, users[:3]))
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return Conflict(
        f"{name!r} is used by {names}{more}; change these first",
        code="SCHEMA_IN_USE",
        details={"usedBy": [use.as_object() for use in users]},
    )


def _fingerprint(schema: Any) -> dict[str, Any]:
    text = json.dumps(schema, sort_keys=True)
    return {"bytes": json_size(schema), "sha256": hashlib.sha256(text.encode()).hexdigest()}
