"""Changes of an incident that a person or an API client requests (docs/reference/incidents.md#states).

Each change is one row in the ledger and needs the role operator. It never changes a run.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.utils import timezone

from workflows.actors import Actor, person_name
from workflows.errors import Conflict, InputInvalid
from workflows.models import DefinitionVersion, Incident, IncidentNote, TenantMembership
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.incidents.cursor import cursor_lock
from workflows.services.incidents.find import incident_find
from workflows.services.incidents.states import STATE_FIELDS, state_awake, state_set
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, IncidentState, Role

TARGET = "incident"
MAX_NOTE_LENGTH = 4_000
MAX_SNOOZED_FAILURES = 1_000_000
_OVER = (IncidentState.RESOLVED, IncidentState.CLOSED)


def require_incident_role(*, actor: Actor, incident_id: uuid.UUID) -> None:
    """Refuse an actor who may not change incidents. Call this function before errors in the request are reported.

    Errors: NotFound; PermissionRefused, and the attempt is recorded in the ledger.
    """
    incident = incident_find(actor=actor, incident_id=incident_id)
    require_role(
        actor=actor,
        needs=Role.OPERATOR,
        to="change incidents",
        action=CommandAction.EDIT_INCIDENT,
        target_type=TARGET,
        target_id=str(incident.id),
    )


@contextmanager
def incident_change(
    *,
    actor: Actor,
    incident_id: uuid.UUID,
    operation: str,
    reason: str = "",
    idempotency_key: str = "",
    is_grouping: bool = False,
    **values: Any,
) -> Iterator[Incident]:
    """Lock the incident for one change. The block changes the object, and the end of the block saves it.

    `is_grouping`: the change moves failures, so the lock of the tenant's cursor is taken first, as for new failures.

    Errors: NotFound, PermissionRefused; Conflict INCIDENT_MERGED if another incident shows its failures;
    CommandRepeated.
    """
    found = incident_find(actor=actor, incident_id=incident_id)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_INCIDENT,
        target_type=TARGET,
        target_id=str(found.id),
        reason=reason,
        payload={"operation": operation, "incident": str(found), **values},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.OPERATOR, to="change incidents")
        if is_grouping:
            cursor_lock(tenant_id=actor.tenant_id)
        incident = Incident.objects.select_for_update(no_key=True).get(tenant_id=actor.tenant_id, id=found.id)
        if incident.merged_into_id is not None:
            raise Conflict(
                f"{incident} is merged into {found.merged_into}; change that incident, or separate the two first",
                code="INCIDENT_MERGED",
            )
        yield incident
        incident.save(update_fields=[*STATE_FIELDS, "owner", "owner_name"])


def incident_own(
    *, actor: Actor, incident_id: uuid.UUID, username: str | None = None, idempotency_key: str = ""
) -> Incident:
    """Give the incident an owner: a member of the tenant, or the actor without a `username`.

    An empty `username` removes the owner. A new or regressed incident becomes open.

    Errors: those of `incident_change`; InputInvalid if there is no such member, or if a token would be the owner.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="own", idempotency_key=idempotency_key, username=username
    ) as incident:
        _set_owner(incident, actor, username)
        if incident.owner_name and incident.state in (IncidentState.NEW, IncidentState.REGRESSED):
            state_set(incident, IncidentState.OPEN, at=timezone.now(), reason=f"owner: {incident.owner_name}")
        elif not incident.owner_name and incident.state == IncidentState.OPEN:
            state_set(incident, IncidentState.NEW, at=timezone.now(), reason=_by(actor))
    return incident_find(actor=actor, incident_id=incident_id)


def incident_snooze(
    *,
    actor: Actor,
    incident_id: uuid.UUID,
    until: datetime | None = None,
    failures: int | None = None,
    reason: str = "",
    idempotency_key: str = "",
) -> Incident:
    """Snooze the incident until a time, or until this number of further runs has failed. The first of both ends it.

    Errors: those of `incident_change`; InputInvalid; Conflict INCIDENT_STATE if the incident is resolved or closed.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="snooze", reason=reason, idempotency_key=idempotency_key,
        until=until.isoformat() if until else None, failures=failures,
    ) as incident:  # fmt: skip
        _check_snooze(until, failures)
        if incident.state in _OVER:
            raise Conflict(f"{incident} is {incident.state}; reopen it first, then snooze it", code="INCIDENT_STATE")
        before = incident.snoozed_from or incident.state
        state_set(incident, IncidentState.SNOOZED, at=timezone.now(), reason=_by(actor, reason))
        incident.snoozed_from, incident.snoozed_until, incident.snoozed_for = before, until, failures
    return incident_find(actor=actor, incident_id=incident_id)


def incident_resolve(
    *, actor: Actor, incident_id: uuid.UUID, version: int, reason: str = "", idempotency_key: str = ""
) -> Incident:
    """Mark the incident as resolved in a version. Only a later failure on this version or a newer one reopens it.

    `version` may be the next version, which is not published yet. It may be the newest version that failed, because a
    cause outside the definition can be repaired without a new version.

    Errors: those of `incident_change`; InputInvalid INCIDENT_VERSION_UNKNOWN, INCIDENT_VERSION_FAILED.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="resolve", reason=reason, idempotency_key=idempotency_key,
        version=version,
    ) as incident:  # fmt: skip
        _check_resolved_version(incident, version)
        state_set(incident, IncidentState.RESOLVED, at=timezone.now(), reason=_by(actor, reason))
        incident.resolved_in = version
    return incident_find(actor=actor, incident_id=incident_id)


def incident_close(*, actor: Actor, incident_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> Incident:
    """Close the incident. A later failure opens it again.

    Errors: those of `incident_change`; Conflict INCIDENT_STATE if it is closed.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="close", reason=reason, idempotency_key=idempotency_key
    ) as incident:
        if incident.state == IncidentState.CLOSED:
            raise Conflict(f"{incident} is closed already; nothing was changed", code="INCIDENT_STATE")
        state_set(incident, IncidentState.CLOSED, at=timezone.now(), reason=_by(actor, reason))
    return incident_find(actor=actor, incident_id=incident_id)


def incident_reopen(*, actor: Actor, incident_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> Incident:
    """End the snooze of an incident, or take back that it is resolved or closed.

    Errors: those of `incident_change`; Conflict INCIDENT_STATE if the incident is new, open or regressed.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="reopen", reason=reason, idempotency_key=idempotency_key
    ) as incident:
        if incident.state not in (*_OVER, IncidentState.SNOOZED):
            raise Conflict(f"{incident} is {incident.state}; nothing was changed", code="INCIDENT_STATE")
        state_set(incident, state_awake(incident), at=timezone.now(), reason=_by(actor, reason))
        incident.resolved_in = None
    return incident_find(actor=actor, incident_id=incident_id)


def incident_note(*, actor: Actor, incident_id: uuid.UUID, text: str, idempotency_key: str = "") -> IncidentNote:
    """Add a note and return it.

    Errors: those of `incident_change`; InputInvalid if the note is empty or too long.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="note", idempotency_key=idempotency_key, text=text
    ) as incident:
        text = text.strip()
        if not text or len(text) > MAX_NOTE_LENGTH or "\x00" in text:
            problem = f"Must have 1 to {MAX_NOTE_LENGTH} characters, without NUL."
            raise InputInvalid(f"the note is not valid: {problem}", details={"fields": {"text": [problem]}})
        return IncidentNote.objects.create(
            tenant_id=actor.tenant_id, incident=incident, author_name=actor.name[:200], text=text
        )


def newest_version(incident: Incident) -> int:
    """Return the number of the newest version of the incident's definition."""
    versions = DefinitionVersion.objects.filter(tenant_id=incident.tenant_id, definition_id=incident.definition_id)
    return versions.order_by("-version").values_list("version", flat=True).first() or 0


def _set_owner(incident: Incident, actor: Actor, username: str | None) -> None:
    if username == "":
        incident.owner_id, incident.owner_name = None, ""
        return
    members = TenantMembership.objects.select_related("user").filter(tenant_id=actor.tenant_id)
    if username is not None:
        member = members.filter(user__username=username).first()
    else:
        member = members.filter(user_id=int(actor.id)).first() if actor.kind == "user" else None
    if member is None:
        raise InputInvalid(
            f"{username!r} is not a member of this tenant; choose a member"
            if username
            else "an API token cannot own an incident; send the user name of a member",
            code="MEMBER_UNKNOWN",
            details={"fields": {"username": ["Must be the user name of a member."]}},
        )
    incident.owner_id = member.user_id
    incident.owner_name = person_name(member.user)


def _check_snooze(until: datetime | None, failures: int | None) -> None:
    problems: dict[str, list[str]] = {}
    if until is None and failures is None:
        problems["until"] = ["Give a time, a number of failures, or both."]
    if until is not None and until <= timezone.now():
        problems["until"] = ["Must be in the future."]
    if failures is not None and not 1 <= failures <= MAX_SNOOZED_FAILURES:
        problems["failures"] = [f"Must be from 1 to {MAX_SNOOZED_FAILURES}."]
    if problems:
        raise InputInvalid(
            "the snooze is not valid: " + " ".join(word for words in problems.values() for word in words),
            details={"fields": problems},
        )


def _check_resolved_version(incident: Incident, version: int) -> None:
    oldest, following = max(1, incident.last_version), newest_version(incident) + 1
    if not 1 <= version <= following:
        raise InputInvalid(
            f"version {version} does not exist; choose a version from {oldest} to {following}, the next version",
            code="INCIDENT_VERSION_UNKNOWN",
            details={"fields": {"version": [f"Must be from {oldest} to {following}."]}},
        )
    if version < oldest:
        problem = f"The incident failed on version {oldest}, which is newer. Must be from {oldest} to {following}."
        raise InputInvalid(
            f"{incident} failed on version {oldest}, so version {version} did not resolve it; choose the version that "
            f"resolves it, from {oldest + 1} to {following}, or version {oldest} if no new version was needed",
            code="INCIDENT_VERSION_FAILED",
            details={"fields": {"version": [problem]}},
        )


def _by(actor: Actor, reason: str = "") -> str:
    return f"{actor.name}: {reason}" if reason else f"by {actor.name}"
