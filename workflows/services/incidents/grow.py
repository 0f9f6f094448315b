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
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from workflows.models import Incident, IncidentFailure, Run, Tenant
from workflows.models.fields import new_id
from workflows.models.statements import update_rows
from workflows.services.incidents.causes import Failure, failures_of
from workflows.services.incidents.cursor import cursor_lock
from workflows.services.incidents.groups import Groups
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
    "last_failed_at", "newest_run_id",
)  # fmt: skip

_ADD_HOURS = """
INSERT INTO workflow_incident_hours AS known (id, tenant_id, incident_id, hour, version, failures)
SELECT id, %s, incident_id, hour, version, failures
FROM unnest(%s::uuid[], %s::uuid[], %s::timestamptz[], %s::int[], %s::int[])
    AS added (id, incident_id, hour, version, failures)
ON CONFLICT (tenant_id, incident_id, hour, version) DO UPDATE SET failures = known.failures + excluded.failures
"""


def incidents_grow(*, seconds: float = SECONDS) -> int:
    """Add the failures of all tenants that are not in an incident yet. Return their number.

    Call it with the scope of all tenants. If one tenant cannot be read, the others are still read. After `seconds`, the
    next call continues.
    """
    stop_at = time.monotonic() + seconds
    grown = 0
    for tenant_id in tenants_with_failures():
        try:
            with tenant_scope(tenant_id):
                while (added := batch_grow(tenant_id=tenant_id)) > 0:
                    grown += added
                    if time.monotonic() > stop_at:
                        return grown
        except Exception:
            logger.exception("failures of tenant %s were not added to incidents; they are read again", tenant_id)
    return grown


def tenants_with_failures() -> list[uuid.UUID]:
    """Return the tenants that have failed runs which no incident has. Cost: one statement with an index search each."""
    cursor = "workflow_incident_cursors"
    with connection.cursor() as statement:
        statement.execute(
            "SELECT tenants.id FROM tenants WHERE EXISTS (SELECT FROM workflow_runs run"
            " WHERE run.tenant_id = tenants.id AND run.engine = %s AND run.status IN (%s, %s)"
            f" AND run.ended_at IS NOT NULL AND run.projected_at >= coalesce((SELECT read_until FROM {cursor} known"
            "   WHERE known.tenant_id = tenants.id) - %s, '-infinity')"
            " AND NOT EXISTS (SELECT FROM workflow_incident_failures failure WHERE failure.tenant_id = run.tenant_id"
            "   AND failure.run_id = run.id AND failure.failed_at = run.ended_at)) ORDER BY tenants.id",
            [str(Engine.TEMPORAL), *map(str, FAILED), OVERLAP],
        )
        return [row[0] for row in statement.fetchall()]


def batch_grow(*, tenant_id: uuid.UUID, size: int = BATCH) -> int:
    """Add the next failures of one tenant in one transaction. Return their number.

    0 means that nothing is left, or that another process adds the failures of this tenant now.
    """
    with transaction.atomic():
        cursor = cursor_lock(tenant_id=tenant_id, wait=False)
        if cursor is None:
            return 0
        runs = list(_unread_runs(tenant_id, cursor.read_until)[:size])
        if not runs:
            return 0
        failures = failures_of(runs)
        groups = Groups(cursor)
        groups.find(failures)
        _add(tenant_id, groups, failures)
        cursor.read_until = max([run.projected_at for run in runs] + ([cursor.read_until] if cursor.read_until else []))
        cursor.save(update_fields=["read_until", "last_number"])
    return len(runs)


def _unread_runs(tenant_id: uuid.UUID, read_until: datetime | None) -> QuerySet[Run]:
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
    rows, hours = [], Counter[tuple[uuid.UUID, datetime, int]]()
    for failure in sorted(failures, key=lambda failure: failure.failed_at):
        incident = groups.incident_of(failure)
        shown = groups.shown(incident)
        is_counted = (shown.id, failure.origin_id) not in counted
        counted.add((shown.id, failure.origin_id))
        rows.append(
            IncidentFailure(
                tenant_id=tenant_id, incident=incident, run_id=failure.run_id, failed_at=failure.failed_at,
                version=failure.version, origin_id=failure.origin_id, is_counted=is_counted,
            )  # fmt: skip
        )
        if failure.version >= incident.last_version:
            incident.step_path, incident.step_name = failure.step_path[:500], failure.step_name[:200]
        for grown in {incident.id: incident, shown.id: shown}.values():
            _grow(grown, failure, is_counted=is_counted)
        if is_counted:
            hours[incident.id, failure.failed_at.replace(minute=0, second=0, microsecond=0), failure.version] += 1
    IncidentFailure.objects.bulk_create(rows)
    hours_add(tenant_id, hours)
    update_rows(groups.known(), GROWN_FIELDS)


def _grow(incident: Incident, failure: Failure, *, is_counted: bool) -> None:
    state_after_failure(incident, version=failure.version, failed_at=failure.failed_at, is_counted=is_counted)
    incident.run_count += is_counted
    incident.first_version = min(incident.first_version or failure.version, failure.version)
    incident.last_version = max(incident.last_version, failure.version)
    incident.first_failed_at = min(incident.first_failed_at, failure.failed_at)
    if is_counted and failure.failed_at >= incident.last_failed_at:
        incident.newest_run_id = failure.run_id
    incident.last_failed_at = max(incident.last_failed_at, failure.failed_at)


def hours_add(tenant_id: uuid.UUID, hours: Counter[tuple[uuid.UUID, datetime, int]]) -> None:
    """Add to the hourly counters of incidents. Cost: one statement."""
    if not hours:
        return
    keys = sorted(hours)
    incidents, times, versions = zip(*keys, strict=True)
    values = [[new_id() for _ in incidents], list(incidents), list(times), list(versions), [hours[key] for key in keys]]
    with connection.cursor() as cursor:
        cursor.execute(_ADD_HOURS, [tenant_id, *values])
