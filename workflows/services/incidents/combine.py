"""Merge, separation and split of incidents. They hold for later failures too (docs/reference/incidents.md#merge).

All of them hold the lock of the tenant's cursor, so that no failure is added at the same time.
"""

import uuid
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Max, Min, Q
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid
from workflows.models import Incident, IncidentFailure, IncidentHour
from workflows.selectors.incidents import family_of
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.incidents.change import TARGET, incident_change
from workflows.services.incidents.cursor import cursor_lock, next_number
from workflows.services.incidents.find import incident_find
from workflows.services.incidents.hours import HourCounts, hour_of, hours_add, hours_subtract
from workflows.services.incidents.messages import split_fingerprint
from workflows.services.incidents.states import state_awake, state_set
from workflows.statuses import CommandAction, Role

MAX_MOVED = 10_000
MIN_TEXT, MAX_TEXT = 3, 200
_COUNTS = ("run_count", "first_version", "last_version", "first_failed_at", "last_failed_at")

# The newest failures of an incident and of the incidents that are merged into it. The last column is true if the
# message of the run contains a text.
_NEWEST = """
SELECT failure.id, failure.incident_id, failure.failed_at, failure.version, failure.is_counted, failure.run_id,
    coalesce(position(%s IN run.error ->> 'message') > 0, false)
FROM workflow_incident_failures failure
LEFT JOIN workflow_runs run
    ON run.id = failure.run_id AND run.tenant_id = failure.tenant_id AND run.ended_at = failure.failed_at
WHERE failure.tenant_id = %s AND failure.incident_id = ANY(%s)
ORDER BY failure.failed_at DESC LIMIT %s
"""


def incident_merge(
    *, actor: Actor, incident_id: uuid.UUID, into: int, reason: str = "", idempotency_key: str = ""
) -> Incident:
    """Merge an incident into the incident with the number `into`, and return that incident.

    It shows and counts the failures of both from now on.

    Errors: those of `incident_change`; InputInvalid if there is no such incident of the same definition.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="merge", reason=reason, idempotency_key=idempotency_key,
        is_grouping=True, into=into,
    ) as incident:  # fmt: skip
        target = _target(incident, into)
        for merged in Incident.objects.filter(tenant_id=actor.tenant_id, merged_into=incident):
            merged.merged_into = target
            merged.save(update_fields=["merged_into"])
        incident.merged_into = target
        incident.save(update_fields=["merged_into"])
        _recount(incident)
        _recount(target)
    return target


def incident_separate(*, actor: Actor, incident_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> Incident:
    """Take an incident out of the incident into which it was merged, and return it. Its failures go with it.

    Errors: NotFound, PermissionRefused; Conflict INCIDENT_NOT_MERGED; CommandRepeated.
    """
    found = incident_find(actor=actor, incident_id=incident_id)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_INCIDENT,
        target_type=TARGET,
        target_id=str(found.id),
        reason=reason,
        payload={"operation": "separate", "incident": str(found)},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.OPERATOR, to="change incidents")
        cursor_lock(tenant_id=actor.tenant_id)
        incident = Incident.objects.select_for_update(no_key=True).get(tenant_id=actor.tenant_id, id=found.id)
        if incident.merged_into_id is None:
            raise Conflict(f"{incident} is not merged; nothing was changed", code="INCIDENT_NOT_MERGED")
        target = Incident.objects.select_for_update(no_key=True).get(id=incident.merged_into_id)
        incident.merged_into = None
        state_set(incident, state_awake(incident), at=timezone.now(), reason=f"separated from {target}")
        incident.save()
        _recount(incident)
        _recount(target)
    return incident_find(actor=actor, incident_id=incident_id)


def incident_split(
    *, actor: Actor, incident_id: uuid.UUID, text: str, reason: str = "", idempotency_key: str = ""
) -> Incident:
    """Split the failures whose message contains a text into an incident of their own, and return it.

    Of the failures so far, at most the newest MAX_MOVED are moved.

    Errors: those of `incident_change`; InputInvalid INCIDENT_SPLIT if no failure or each failure has the text, or if
    the split exists.
    """
    with incident_change(
        actor=actor, incident_id=incident_id, operation="split", reason=reason, idempotency_key=idempotency_key,
        is_grouping=True, text=text,
    ) as incident:  # fmt: skip
        cursor = cursor_lock(tenant_id=actor.tenant_id)
        assert cursor is not None
        text = text.strip()
        moved = _chosen(incident, text)
        split = Incident(
            tenant_id=incident.tenant_id, number=next_number(cursor), definition_id=incident.definition_id,
            fingerprint=split_fingerprint(incident.fingerprint, text), step_id=incident.step_id,
            step_name=incident.step_name, step_path=incident.step_path, error_category=incident.error_category,
            error_code=incident.error_code, message=incident.message, split_from=incident, split_text=text,
            state_since=timezone.now(), first_failed_at=moved[-1].failed_at, last_failed_at=moved[0].failed_at,
        )  # fmt: skip
        if Incident.objects.filter(tenant_id=actor.tenant_id, fingerprint=split.fingerprint).exists():
            raise _invalid(f"{incident} has a split with this text already; open that incident")
        split.save()
        cursor.save(update_fields=["last_number"])
        _move(moved, split)
        _recount(split)
        _recount(incident)
    return incident_find(actor=actor, incident_id=split.id)


# -- Parts -------------------------------------------------------------------------------------------------------------


def _target(incident: Incident, number: int) -> Incident:
    target = (
        Incident.objects.select_for_update(no_key=True)
        .filter(tenant_id=incident.tenant_id, number=number, definition_id=incident.definition_id)
        .exclude(id=incident.id)
        .first()
    )
    if target is None:
        raise InputInvalid(
            f"INC-{number} is not another incident of this definition; choose one",
            code="INCIDENT_MERGE_TARGET",
            details={"fields": {"into": ["Must be another incident of the same definition."]}},
        )
    if target.merged_into_id is not None:
        raise Conflict(f"{target} is merged into another incident; choose that incident", code="INCIDENT_MERGED")
    return target


def _chosen(incident: Incident, text: str) -> list[IncidentFailure]:
    """Return the failures that the split moves, newest first."""
    if not MIN_TEXT <= len(text) <= MAX_TEXT or "\x00" in text:
        raise _invalid(f"the text must have {MIN_TEXT} to {MAX_TEXT} characters, without NUL")
    family = family_of(Incident.objects.filter(id=incident.id), tenant_id=incident.tenant_id)
    with connection.cursor() as cursor:
        ids = [row["id"] for row in family]
        cursor.execute(_NEWEST, [text, incident.tenant_id, ids, MAX_MOVED])
        rows = cursor.fetchall()
    moved = [
        IncidentFailure(id=pk, incident_id=of, failed_at=at, version=version, is_counted=is_counted, run_id=run_id)
        for pk, of, at, version, is_counted, run_id, has_text in rows
        if has_text
    ]
    if not moved:
        raise _invalid(f"no message of {incident} contains this text; copy a part of a message")
    if len(moved) == len(rows):
        raise _invalid(f"each message of {incident} contains this text; choose a text that only some messages contain")
    return moved


def _move(moved: list[IncidentFailure], split: Incident) -> None:
    IncidentFailure.objects.filter(id__in=[failure.id for failure in moved]).update(incident=split)
    taken, added = HourCounts(), HourCounts()
    for failure in moved:
        if failure.is_counted:
            taken[failure.incident_id, hour_of(failure.failed_at), failure.version] += 1
            added[split.id, hour_of(failure.failed_at), failure.version] += 1
    hours_subtract(split.tenant_id, taken)
    hours_add(split.tenant_id, added)


def _recount(incident: Incident) -> None:
    """Write the counters of an incident again from its failures and those of the incidents merged into it.

    Cost: two statements that read indexes, and one update.
    """
    family = family_of(Incident.objects.filter(id=incident.id), tenant_id=incident.tenant_id)
    of_family = {"tenant_id": incident.tenant_id, "incident__in": family}
    failures = IncidentFailure.objects.filter(**of_family)
    hours = IncidentHour.objects.filter(**of_family, failures__gt=0)
    found = failures.aggregate(first=Min("failed_at", filter=Q(is_counted=True)), last=Max("failed_at"))
    versions = hours.aggregate(first=Min("version"), last=Max("version"), since=Min("hour"))
    incident.run_count = sum(hours.values_list("failures", flat=True))
    incident.first_version, incident.last_version = versions["first"] or 0, versions["last"] or 0
    incident.first_failed_at = _first_failed_at(incident, found["first"], versions["since"])
    incident.last_failed_at = found["last"] or incident.last_failed_at
    incident.save(update_fields=_COUNTS)


def _first_failed_at(incident: Incident, stored: datetime | None, since: datetime | None) -> datetime:
    """Return the time of the first failure. `stored`: the first one whose run is stored. `since`: the first hour.

    Retention deletes old failures, and their counters by hour stay. Then the time that the incident has is used if it
    is in that hour, or else the begin of the hour.
    """
    if stored is not None and (since is None or stored - since < timedelta(hours=1)):
        return stored
    if since is None or timedelta() <= incident.first_failed_at - since < timedelta(hours=1):
        return incident.first_failed_at
    return since


def _invalid(problem: str) -> InputInvalid:
    text = f"{problem[0].upper()}{problem[1:]}."
    return InputInvalid(problem, code="INCIDENT_SPLIT", details={"fields": {"text": [text]}})
