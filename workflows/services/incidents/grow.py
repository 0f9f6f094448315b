"""Growth of incidents: read failed runs in batches, and add each failure to the incident of its cause.

The projection of a run does nothing for incidents. This task reads the rows that the projection has written, in the
order of `projected_at`. One transaction adds a batch: failures, counters, states and the cursor. If its process is
killed, the batch is read again. A unique key on the failures and the lock on the cursor ensure that each failure counts
once.

A transaction can write a run with a `projected_at` that is older than the cursor. So each batch begins OVERLAP before
the cursor and leaves out the failures that it knows. A projection transaction is much shorter than OVERLAP.

Source: docs/reference/incidents.md#how-failures-are-read
"""

import logging
import time
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from workflows.models import Incident, IncidentFailure, Run
from workflows.models.statements import update_rows
from workflows.services.incidents.causes import Failure, failures_of
from workflows.services.incidents.cursor import cursor_lock
from workflows.services.incidents.groups import Groups
from workflows.services.incidents.hours import HourCounts, hour_of, hours_add
from workflows.services.incidents.states import STATE_FIELDS, state_after_failure
from workflows.statuses import Engine, RunStatus
from workflows.tenancy import tenant_scope

logger = logging.getLogger(__name__)

BATCH = 1_000
SECONDS = 30.0
OVERLAP = timedelta(minutes=10)
FAILED = (RunStatus.FAILED, RunStatus.TIMED_OUT)
GROWN_FIELDS = (
    *STATE_FIELDS, "step_path", "step_name", "run_count", "first_version", "last_version", "first_failed_at",
    "last_failed_at",
)  # fmt: skip
_TENANTS = """
SELECT tenants.id FROM tenants WHERE EXISTS (
    SELECT FROM workflow_runs run
    WHERE run.tenant_id = tenants.id AND run.engine = %s AND run.status IN (%s, %s) AND run.ended_at IS NOT NULL
      AND run.projected_at >= coalesce(
        (SELECT read_until FROM workflow_incident_cursors known WHERE known.tenant_id = tenants.id)
          - make_interval(secs => %s),
        '-infinity'
      )
      AND NOT EXISTS (
        SELECT FROM workflow_incident_failures failure
        WHERE failure.tenant_id = run.tenant_id AND failure.run_id = run.id AND failure.failed_at = run.ended_at
      )
) ORDER BY tenants.id
"""


def incidents_grow(*, seconds: float = SECONDS) -> int:
    """Add the failures of all tenants that are not in an incident yet. Return their number.

    Call it with the scope of all tenants. The tenants take turns. If one tenant cannot be read, the others are still
    read. After `seconds`, the next call continues.
    """
    stop_at = time.monotonic() + seconds
    waiting = deque(tenants_with_failures())
    grown = 0
    while waiting and time.monotonic() < stop_at:
        tenant_id = waiting.popleft()
        try:
            with tenant_scope(tenant_id):
                added = batch_grow(tenant_id=tenant_id)
        except Exception:
            logger.exception("failures of tenant %s were not added to incidents; they are read again", tenant_id)
            continue
        grown += added
        if added:
            waiting.append(tenant_id)
    return grown


def tenants_with_failures() -> list[uuid.UUID]:
    """Return the tenants that have failed runs which no incident has. Cost: one statement with an index search each."""
    with connection.cursor() as cursor:
        seconds = OVERLAP.total_seconds()
        cursor.execute(_TENANTS, [str(Engine.TEMPORAL), *map(str, FAILED), seconds])
        return [row[0] for row in cursor.fetchall()]


def batch_grow(*, tenant_id: uuid.UUID, size: int = BATCH) -> int:
    """Add the next failures of one tenant in one transaction. Return their number.

    0 means that nothing is left, or that another process adds the failures of this tenant now.
    """
    with transaction.atomic():
        cursor = cursor_lock(tenant_id=tenant_id, wait=False)
        if cursor is None:
            return 0
        runs = list(unread_runs(tenant_id, cursor.read_until)[:size])
        if not runs:
            return 0
        failures = failures_of(runs)
        groups = Groups(cursor)
        groups.find(failures)
        _add(tenant_id, groups, failures)
        cursor.read_until = max([run.projected_at for run in runs] + ([cursor.read_until] if cursor.read_until else []))
        cursor.save(update_fields=["read_until", "last_number"])
    return len(runs)


def unread_runs(tenant_id: uuid.UUID, read_until: datetime | None) -> QuerySet[Run]:
    known = IncidentFailure.objects.filter(tenant_id=tenant_id, run_id=OuterRef("id"), failed_at=OuterRef("ended_at"))
    runs = Run.objects.filter(
        tenant_id=tenant_id, engine=Engine.TEMPORAL, status__in=FAILED, ended_at__isnull=False
    ).exclude(Exists(known))
    if read_until is not None:
        runs = runs.filter(projected_at__gte=read_until - OVERLAP)
    return runs.only(
        "id", "tenant_id", "definition_id", "definition_version_id", "version", "status", "error", "error_category",
        "error_code", "ended_at", "projected_at", "replay_of_id",
    ).order_by("projected_at", "id")  # fmt: skip


def _add(tenant_id: uuid.UUID, groups: Groups, failures: Sequence[Failure]) -> None:
    counted = groups.counted_origins(failures)
    rows, hours = [], HourCounts()
    for failure in sorted(failures, key=lambda failure: failure.failed_at):
        incident = groups.incident_of(failure)
        shown = groups.shown(incident)
        is_counted = (shown.id, failure.origin_id) not in counted
        counted.add((shown.id, failure.origin_id))
        rows.append(_row(tenant_id, incident, failure, is_counted))
        if failure.version >= incident.last_version:
            incident.step_path, incident.step_name = failure.step_path[:500], failure.step_name[:200]
        for grown in {incident.id: incident, shown.id: shown}.values():
            _grow(grown, failure, is_counted=is_counted)
        if is_counted:
            hours[incident.id, hour_of(failure.failed_at), failure.version] += 1
    IncidentFailure.objects.bulk_create(rows)
    hours_add(tenant_id, hours)
    update_rows(groups.known(), GROWN_FIELDS)


def _row(tenant_id: uuid.UUID, incident: Incident, failure: Failure, is_counted: bool) -> IncidentFailure:
    return IncidentFailure(
        tenant_id=tenant_id,
        incident=incident,
        run_id=failure.run_id,
        failed_at=failure.failed_at,
        version=failure.version,
        origin_id=failure.origin_id,
        is_counted=is_counted,
    )


def _grow(incident: Incident, failure: Failure, *, is_counted: bool) -> None:
    state_after_failure(incident, version=failure.version, failed_at=failure.failed_at, is_counted=is_counted)
    incident.last_failed_at = max(incident.last_failed_at, failure.failed_at)
    if not is_counted:
        return
    incident.run_count += 1
    incident.first_version = min(incident.first_version or failure.version, failure.version)
    incident.last_version = max(incident.last_version, failure.version)
    incident.first_failed_at = min(incident.first_failed_at, failure.failed_at)
