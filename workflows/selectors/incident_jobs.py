"""Bulk jobs that have replayed runs of an incident (docs/reference/incidents.md#replay).

A person can start a replay on the page of the incident or in the run list. The commands of the runs name the job of
each request, so a job is found by its runs and not by the page on which it was started.
"""

from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from workflows.models import BulkJob, Incident
from workflows.selectors.replay_counts import MOST_RUNS
from workflows.statuses import CommandAction

# OFFSET 0 makes each step one search in an index: PostgreSQL cannot join with all runs or all commands. A request
# before the failure, for example the one that started this replay, belongs to another incident.
_JOBS = """
SELECT id FROM workflow_bulk_jobs WHERE tenant_id = %s AND incident_id = %s
UNION (WITH RECURSIVE failures AS (
    SELECT run_id, origin_id, failed_at FROM workflow_incident_failures
    WHERE tenant_id = %s AND is_counted AND incident_id IN (
        SELECT id FROM workflow_incidents
        WHERE tenant_id = %s AND (id = %s OR merged_into_id = %s)
    )
    ORDER BY failed_at DESC LIMIT %s
), work (id, failed_at) AS (
    SELECT first.id, failures.failed_at
    FROM failures, LATERAL (VALUES (failures.run_id), (failures.origin_id)) AS first(id)
    UNION
    SELECT replay.id, work.failed_at FROM work, LATERAL (
        SELECT id FROM workflow_runs WHERE tenant_id = %s AND replay_of_id = work.id OFFSET 0
    ) replay
)
SELECT parent.target_id::uuid FROM work, LATERAL (
    SELECT parent_id FROM workflow_commands
    WHERE tenant_id = %s AND run_id = work.id AND requested_at >= work.failed_at
      AND action = %s AND parent_id IS NOT NULL OFFSET 0
) command JOIN workflow_commands parent ON parent.id = command.parent_id)
"""


def replay_jobs_of(incident: Incident) -> QuerySet[BulkJob]:
    """Return the jobs of the page of the incident, and those that replayed one of its runs or a replay of them.

    Of the runs, the newest MOST_RUNS are read. A job of the run list is found when it has requested its first run.
    """
    tenant = incident.tenant_id
    values = [tenant, incident.id, tenant, tenant, incident.id, incident.id, MOST_RUNS, tenant, tenant]
    ids = RawSQL(_JOBS, [*values, str(CommandAction.REPLAY)])  # noqa: S611
    return BulkJob.objects.filter(tenant_id=tenant, id__in=ids)
