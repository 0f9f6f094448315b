"""Event catalogue: correlation paths, identity, payload schema and buffer time of each event type.

Source: docs/reference/events.md#correlation, docs/reference/screens.md#other-screens
"""

import math
import uuid
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import IntegrityError

from ingress.intake.correlation_config import ANY_EVENT, parse_paths
from ingress.intake.envelope import MAX_ID_LENGTH
from workflows.actors import Actor
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import EventType, PayloadSchema
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.payload_check import known_schema_refs
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role

MAX_BUFFER_SECONDS = 86_400
MAX_PATHS = 20
MAX_PATH_LENGTH = 500
PATH_FIELDS = ("correlation_paths", "identity_paths", "identity_excluded_paths")
MAX_DESCRIPTION_LENGTH = 2000

Problem = dict[str, str]


@dataclass(frozen=True)
class EventTypeFields:
    """Fields of a catalogue entry as the author wrote them. They are not checked yet."""

    description: Any = ""
    correlation_paths: Any = None  # one path, or a list; if None, the environment's paths apply
    # Paths in the same form as `correlation_paths`. An author may give only one of the two fields. If both are None,
    # the whole payload is the identity.
    identity_paths: Any = None
    identity_excluded_paths: Any = None
    payload_schema_ref: Any = ""
    buffer_seconds: Any = None  # if None, EVENT_BUFFER_SECONDS applies
    is_active: Any = True


@dataclass(frozen=True)
class SavedEventType:
    row: EventType
    is_new: bool


def event_type_save(
    *, actor: Actor, name: Any, fields: EventTypeFields, must_be_new: bool = False, idempotency_key: str = ""
) -> SavedEventType:
    """Create a catalogue entry, or replace the entry with this name. The new entry applies to all later events.

    Errors: PermissionRefused; InputInvalid EVENT_TYPE_INVALID, with a list of all problems; Conflict EVENT_TYPE_EXISTS.
    """
    problems = event_type_problems(tenant_id=actor.tenant_id, name=name, fields=fields)
    payload = {"operation": "save"} if problems else {"operation": "save", **vars(fields)}
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_EVENT_TYPE,
        target_type="event type",
        target_id=target_name(name),
        payload=payload,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.AUTHOR, to="edit the event catalogue")
        if problems:
            where = f"{problems[0]['path']} " if problems[0]["path"] else ""
            raise InputInvalid(
                f"The event type is invalid: {where}{problems[0]['message']}",
                code="EVENT_TYPE_INVALID",
                details={"problems": problems},
            )
        saved = _stored(actor.tenant_id, name, fields, must_be_new=must_be_new)
        command.details = {"created": saved.is_new}
        return saved


def event_type_delete(*, actor: Actor, name: str, idempotency_key: str = "") -> None:
    """Delete a catalogue entry. Errors: PermissionRefused, NotFound."""
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_EVENT_TYPE,
        target_type="event type",
        target_id=target_name(name),
        payload={"operation": "delete"},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.AUTHOR, to="edit the event catalogue")
        event_type_find(tenant_id=actor.tenant_id, name=name).delete()


def require_event_type_role(*, actor: Actor, name: str = "") -> None:
    """Check the role before errors in the request are reported.

    Errors: PermissionRefused; the denied attempt is recorded in the ledger.
    """
    require_role(
        actor=actor, needs=Role.AUTHOR, to="edit the event catalogue", action=CommandAction.EDIT_EVENT_TYPE,
        target_type="event type", target_id=target_name(name),
    )  # fmt: skip


def event_type_find(*, tenant_id: uuid.UUID, name: str) -> EventType:
    row = EventType.objects.filter(tenant_id=tenant_id, name=name).first()
    if row is None:
        raise NotFound(f"The event catalogue has no event type {name[:200]!r}.", code="EVENT_TYPE_NOT_FOUND")
    return row


def effective_buffer_seconds(row: EventType) -> float:
    """Return the buffer time that applies to the event type."""
    is_own = row.is_active and row.buffer_seconds is not None
    return float(row.buffer_seconds if is_own and row.buffer_seconds else settings.EVENT_BUFFER_SECONDS)


def event_type_problems(*, tenant_id: uuid.UUID, name: Any, fields: EventTypeFields) -> list[Problem]:
    """Return all problems of a catalogue entry as `{path, message}`. The path is the name of a field."""
    problems = [*_name_problems(name), *_text_problems(fields)]
    for field in PATH_FIELDS:
        problems += _path_problems(getattr(fields, field), field)
    if fields.identity_paths and fields.identity_excluded_paths:
        message = "must be left out if identity_paths is given, because then no other field is part of the identity"
        problems.append({"path": "identity_excluded_paths", "message": message})
    buffer = fields.buffer_seconds
    if buffer is not None and not _is_buffer(buffer):
        message = f"must be a number of seconds above 0 and at most {MAX_BUFFER_SECONDS:,}, or must be left out"
        problems.append({"path": "buffer_seconds", "message": message})
    if not isinstance(fields.is_active, bool):
        problems.append({"path": "is_active", "message": "must be true or false"})
    ref = fields.payload_schema_ref
    if name == ANY_EVENT and (ref or buffer is not None or fields.identity_paths or fields.identity_excluded_paths):
        message = f"{ANY_EVENT} sets only correlation paths: it has no schema, no buffer time and no identity"
        problems.append({"path": "name", "message": message})
    elif isinstance(ref, str) and ref and ref not in known_schema_refs(tenant_id):
        problems.append(
            {"path": "payload_schema_ref", "message": f"the schema {ref[:200]!r} is not registered; register it first"}
        )
    return problems


def _name_problems(name: Any) -> list[Problem]:
    if not isinstance(name, str) or not name.strip():
        return [{"path": "name", "message": "must be text that is not empty"}]
    if name != name.strip() or len(name) > MAX_ID_LENGTH or storable_problem(name):
        message = f"must be storable text of at most {MAX_ID_LENGTH} characters, without spaces at the start or the end"
        return [{"path": "name", "message": message}]
    return []


def _text_problems(fields: EventTypeFields) -> list[Problem]:
    problems = []
    limits = {"description": MAX_DESCRIPTION_LENGTH, "payload_schema_ref": 200}
    for field, limit in limits.items():
        text = getattr(fields, field)
        if not isinstance(text, str) or len(text) > limit or storable_problem(text):
            problems.append({"path": field, "message": f"must be storable text of at most {limit} characters"})
    return problems


def _path_problems(paths: Any, field: str) -> list[Problem]:
    if paths in (None, [], ""):
        return []
    unstorable = storable_problem(paths)
    try:
        read = parse_paths(paths, of=field)
    except ValueError as error:
        return [{"path": field, "message": str(error)[:300]}]
    if unstorable or len(read) > MAX_PATHS or any(len(path) > MAX_PATH_LENGTH for path in read):
        message = f"must be at most {MAX_PATHS} dotted paths of at most {MAX_PATH_LENGTH} characters"
        return [{"path": field, "message": message}]
    return []


def _is_buffer(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 < value <= MAX_BUFFER_SECONDS


def _stored(tenant_id: uuid.UUID, name: str, fields: EventTypeFields, *, must_be_new: bool) -> SavedEventType:
    if fields.payload_schema_ref:
        # Lock the schema until the commit, so that no other request can delete it before the entry is saved.
        list(PayloadSchema.objects.select_for_update().filter(tenant_id=tenant_id, ref=fields.payload_schema_ref))
    row = EventType.objects.select_for_update().filter(tenant_id=tenant_id, name=name).first()
    taken = Conflict(
        f"The event catalogue already has an event type {name!r}. Edit that entry.", code="EVENT_TYPE_EXISTS"
    )
    if row is not None and must_be_new:
        raise taken
    is_new = row is None
    row = row or EventType(tenant_id=tenant_id, name=name)
    row.description = fields.description
    for field in PATH_FIELDS:
        paths = getattr(fields, field)
        setattr(row, field, list(parse_paths(paths, of=field)) if paths else None)
    row.payload_schema_ref = fields.payload_schema_ref
    row.buffer_seconds = fields.buffer_seconds
    row.is_active = fields.is_active
    try:
        row.save(force_insert=is_new)
    except IntegrityError as error:
        raise taken from error
    return SavedEventType(row, is_new)
