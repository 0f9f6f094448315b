"""Cost of incidents: statements of the pages, and indexes for the queries over failed runs.

Source: docs/reference/incidents.md
"""

from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_actor, make_tenant, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents
from tests.support.members import member_of
from tests.support.plans import conditions_of, copies, rows_read
from tests.support.statements import sent_statements
from workflows.models import BulkJob, Command, IncidentFailure, Run
from workflows.selectors.incident_jobs import replay_jobs_of
from workflows.selectors.incident_replays import newest_failures
from workflows.selectors.incidents import incidents_shown, runs_of_incident
from workflows.services.incidents.grow import unread_runs
from workflows.services.incidents.replay import incident_replay_preview
from workflows.statuses import BulkState, Role

MOST_STATEMENTS = 12


def test_pages_need_few_statements(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    for number in range(12):
        fail_run(version, correlation_key=f"PAY-{number}")
        fail_run(version, code=f"OTHER-{number}")
    incident = grow_incidents(tenant)[0]
    actor = make_actor(tenant, Role.OPERATOR)
    done = {"state": BulkState.DONE, "started_at": timezone.now(), "ended_at": timezone.now()}
    for _ in range(3):
        incident_replay_preview(actor=actor, incident_id=incident.id)
    BulkJob.objects.filter(tenant=tenant).update(**done)
    done_job = BulkJob.objects.filter(tenant=tenant).first()
    assert done_job is not None
    preview = incident_replay_preview(actor=actor, incident_id=incident.id)
    page = reverse("admin:workflows_incident_change", args=[incident.id])
    client = member_of(tenant)
    for address in (
        reverse("admin:workflows_incident_changelist"),
        page,
        f"{page}?preview={preview.id}",
        *(reverse("admin:workflows_bulkjob_change", args=[job.id]) for job in (preview, done_job)),
    ):
        client.get(address)
        with sent_statements() as statements:
            assert client.get(address).status_code == 200
        assert len(statements) <= MOST_STATEMENTS, [sql[-160:] for sql in statements]


def test_queries_use_indexes(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    run = fail_run(version)
    (incident,) = grow_incidents(tenant)
    failed = "n % 10 = 0"
    copies(
        run, 20_000, id="md5('failed-' || n)::uuid", temporal_workflow_id="'failed-' || n",
        status=f"CASE WHEN {failed} THEN 'FAILED' ELSE 'SUCCEEDED' END",
        projected_at="now() - n * interval '1 min'", ended_at="now() - n * interval '1 min'",
    )  # fmt: skip
    copies(
        incident, 2_000, id="md5('incident-' || n)::uuid", number="n + 1", fingerprint="'f-' || n",
        last_failed_at="now() - n * interval '1 min'", state="CASE WHEN n % 10 = 0 THEN 'new' ELSE 'closed' END",
    )  # fmt: skip
    # Ten failures of each incident. If most rows of the table belonged to one incident, a scan would be the best plan.
    copies(
        IncidentFailure.objects.get(tenant=tenant), 20_000, run_id="md5('failed-' || n)::uuid",
        incident_id="md5('incident-' || 1 + n % 2000)::uuid", failed_at="now() - n * interval '1 min'",
    )  # fmt: skip
    # Many incidents of another tenant. Without them, an index without the tenant would be as good.
    copies(
        incident, 20_000, tenant_id=f"'{make_tenant().id}'::uuid", number="n", fingerprint="'other-' || n",
        last_failed_at="now() - n * interval '1 s'",
    )  # fmt: skip
    copies(version.definition, 2_000, key="'flow-' || n")  # a scan of a few definitions would be the best plan
    incident_replay_preview(actor=make_actor(tenant, Role.OPERATOR), incident_id=incident.id)
    copies(Command.objects.get(tenant=tenant, action="bulk"), 20_000, run_id="md5('failed-' || n)::uuid")
    listed: QuerySet[Any] = incidents_shown(tenant_id=tenant.id).filter(state="new").order_by("-last_failed_at", "-id")
    queries: list[tuple[QuerySet[Any], str]] = [
        (unread_runs(tenant.id, timezone.now())[:1_000], "projected_at >="),
        (newest_failures(incident), "incident_id"),
        (replay_jobs_of(incident), "run_id"),
        (listed[:50], "tenant_id"),
    ]
    for rows, column in queries:
        assert column in conditions_of(tenant, rows), rows.query

    def list_runs() -> None:
        runs = runs_of_incident(Run.objects.filter(tenant=tenant), tenant_id=tenant.id, number=7)
        assert len(runs.order_by("-created_at", "-id")[:50]) == 10

    assert rows_read(tenant, list_runs, "workflow_runs") == 10
    assert rows_read(tenant, list_runs, "workflow_incident_failures") <= 20
