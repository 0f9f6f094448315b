"""Check of an event's payload against its schema, and check of the schema name in the event.

The event catalogue names the schema. If the catalogue names no schema, the sender can name a schema in
`payload_schema_ref`. An event is rejected if the sender names a schema that is not registered, or a different schema
than the catalogue.

Source: docs/reference/events.md#payload-schemas
"""

import difflib
import uuid
from typing import Any

from workflows.errors import InputInvalid
from workflows.models import Event
from workflows.services.payload_check import PayloadChecker, known_schema_refs

SCHEMA_UNKNOWN = "SCHEMA_UNKNOWN"
SCHEMA_MISMATCH = "SCHEMA_MISMATCH"
SHOWN_NAMES = 50


def schema_check(event: Event, *, catalogue_ref: str, checker: PayloadChecker) -> dict[str, Any] | None:
    """Return the result of the check for the decision trace.

    Return None if neither the catalogue nor the sender names a schema.

    Shapes: `ref` is the schema that the check used, or empty. `sent` is the schema that the sender named. `code` and
    `conflict` say why the name of the sender is refused. `problems` are the problems of the payload.
    """
    sent = event.payload_schema_ref
    if not catalogue_ref and not sent:
        return None
    named = checker.registry.registered_name(sent) if sent else catalogue_ref
    check: dict[str, Any] = {"ref": catalogue_ref or named or "", "sent": sent}
    if named is None:
        conflict = f"the sender named the payload schema {sent}, which is not registered"
        return {**check, "code": SCHEMA_UNKNOWN, "conflict": conflict}
    if catalogue_ref and named != catalogue_ref:
        conflict = (
            f"the sender named the payload schema {sent}, but the event catalogue names {catalogue_ref} "
            f"for {event.event_type}"
        )
        return {**check, "code": SCHEMA_MISMATCH, "conflict": conflict}
    return {**check, "problems": checker.problems(event.payload, check["ref"])}


def rejection_reason(check: dict[str, Any], event_type: str) -> str | None:
    """Return the reason why an event with this result is rejected. Return None if the event is accepted."""
    if "code" in check:
        return str(check["conflict"])
    if not check["problems"]:
        return None
    if check["ref"] == check["sent"]:
        return f"the payload does not match {check['ref']}, the schema that the sender named"
    return f"the payload does not match {check['ref']}, the schema of {event_type} in the event catalogue"


def rejection_error(check: dict[str, Any], *, tenant_id: uuid.UUID, row_id: uuid.UUID) -> InputInvalid:
    """Return the error for the sender of a rejected event."""
    if "code" in check:
        return _name_refused(check, tenant_id, row_id)
    problem = check["problems"][0]
    where = f"{check['ref']} at {problem['pointer'] or '/'}"
    return InputInvalid(
        f"The payload does not match the schema {where}: {problem['message']}"[:950]
        + ". Correct the payload and send the event again.",
        code="EVENT_PAYLOAD_INVALID",
        details={"problems": check["problems"], "schemaRef": check["ref"], "id": str(row_id)},
    )


def _name_refused(check: dict[str, Any], tenant_id: uuid.UUID, row_id: uuid.UUID) -> InputInvalid:
    registered = sorted(known_schema_refs(tenant_id))
    near = [check["ref"]] if check["ref"] else difflib.get_close_matches(check["sent"], registered, n=1)
    todo = f"Name {near[0]}" if near else "Name a registered schema"
    todo += ", or leave payload_schema_ref out. Then send the event again."
    return InputInvalid(
        f"The event was rejected: {check['conflict']}. {todo}",
        code=check["code"],
        details={
            "schemaRef": check["sent"],
            "catalogueRef": check["ref"] or None,
            "registered": registered[:SHOWN_NAMES],
            "registeredCount": len(registered),
            "id": str(row_id),
        },
    )
