"""Rows of one tenant as the operator's pages show them. Each page has its full number of lines at every size."""

from __future__ import annotations

from typing import Any

BATCH, INCIDENTS = 100_000, 60


class Filler:
    """Templates of all rows. `fill` copies them."""

    def __init__(self, tenant: Any) -> None:
        from ingress.intake.receive import event_receive
        from tests.support.events import open_wait
        from tests.support.factories import make_actor, make_run, publish
        from workflows.models import Command, EventDelivery, EventKey, HumanTask, Incident, IncidentHour, RunStep
        from workflows.projections.transaction import projection_writer
        from workflows.services.definitions.pause import definition_pause
        from workflows.statuses import EventSource

        self.tenant = tenant
        step = {"id": "s", "type": "state.set", "config": {"state": "X"}}
        self.versions = [publish(tenant, step, key=f"flow-{number}") for number in range(20)]
        self.run = make_run(tenant, definition_version=self.versions[0], correlation_key="TEMPLATE")
        now = self.run.created_at
        with projection_writer("benchmark"):
            self.step = RunStep.objects.create(
                tenant=tenant, run=self.run, step_path="root.steps[0]", step_id="s", step_type="action",
                status="SUCCEEDED", started_at=now, ended_at=now, input={"amount": 1050}, output={"code": "OK"},
            )  # fmt: skip
        self.wait = open_wait(tenant, run=self.run, key="TEMPLATE", name="REPLIED")
        value = {"event_type": "REPLIED", "payload": {"ticketId": "TEMPLATE", "text": "x" * 200}}
        self.event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
        self.key = EventKey.objects.get(event=self.event)
        self.delivery = EventDelivery.objects.create(
            tenant=tenant, event=self.event, kind="wait", wait=self.wait, run=self.run, status="matched"
        )
        self.task = HumanTask.objects.create(
            tenant=tenant, run=self.run, step_path="root.steps[0]", task_type="check", title="Check it"
        )
        definition_pause(actor=make_actor(tenant), key="flow-19", reason="benchmark")
        self.command = Command.objects.filter(tenant=tenant, action="pause").get()
        self.incident = Incident.objects.create(
            tenant=tenant, number=1, definition=self.versions[0].definition, fingerprint="template", step_id="s",
            error_category="ACTION", error_code="NOT_FOUND", message="No payment", run_count=7, first_version=1,
            last_version=1, first_failed_at=now, last_failed_at=now,
        )  # fmt: skip
        self.incident_hour = IncidentHour.objects.create(
            tenant=tenant, incident=self.incident, hour=now.replace(minute=0, second=0, microsecond=0), version=1,
            failures=7,
        )  # fmt: skip

    def fill(self, total: int) -> None:
        """Store rows for `total` runs. A VACUUM follows, as autovacuum does it on a live database."""
        from django.db import connections

        for first in range(1, total + 1, BATCH):
            self._fill(first, min(first + BATCH - 1, total))
        self._fill_incidents()
        with connections["owner"].cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")

    def _fill(self, first: int, last: int) -> None:
        from benchmarks._filling import clone, copy_id

        runs, events, waits = (copy_id(row._meta.db_table) for row in (self.run, self.event, self.wait))
        tenth = (first // 10 + 1, last // 10)
        at = "now() - interval '1 hour' - n * interval '2 seconds'"
        status = (
            "CASE WHEN n % 100 < 3 THEN 'WAITING' WHEN n % 100 < 4 THEN 'RUNNING' WHEN n % 100 < 12 THEN 'FAILED'"
            " WHEN n % 100 < 14 THEN 'CANCELED' ELSE 'SUCCEEDED' END"
        )
        is_failed = "n % 100 BETWEEN 4 AND 11"
        definition, version, key = (
            self._of_definition(lambda row: f"'{row.definition_id}'::uuid"),
            self._of_definition(lambda row: f"'{row.id}'::uuid"),
            self._of_definition(lambda row: f"'{row.definition.key}'"),
        )
        error = '{"category": "ACTION", "code": "NOT_FOUND", "message": "No payment", "nodePath": "root.steps[0]"}'
        clone(
            self.run, first, last, temporal_workflow_id="'pointsman-run-' || " + runs, correlation_key="'PAY-' || n",
            **folded(self.run, "correlation_key_folded", "'pay-' || n"), definition_id=definition,
            definition_version_id=version, definition_key=key, status=status, created_at=at, started_at=at,
            ended_at=f"CASE WHEN n % 100 < 4 THEN NULL ELSE {at} + interval '9 seconds' END",
            error=f"CASE WHEN {is_failed} THEN '{error}'::json END",
            error_category=f"CASE WHEN {is_failed} THEN 'ACTION' ELSE '' END",
            error_code=f"CASE WHEN {is_failed} THEN 'NOT_FOUND' ELSE '' END",
        )  # fmt: skip
        for number in range(3):
            clone(
                self.step, first, last, id=f"md5('step{number}-' || n)::uuid", run_id=runs, started_at=at,
                step_path=f"'root.steps[{number}]'", projection_seq=str(number),
            )  # fmt: skip
        tenth_run = "md5('workflow_runs' || n * 10)::uuid"
        clone(
            self.wait, *tenth, run_id=tenth_run, correlation_key="'WAIT-' || n", opened_at=at,
            status="CASE WHEN n % 10 = 0 THEN 'WAITING' ELSE 'RESOLVED' END",
            kind="CASE WHEN n % 100 = 0 THEN 'retry' ELSE 'event' END",
        )  # fmt: skip
        clone(
            self.event, first, last, event_id="'filled-' || n", event_type="'TYPE-' || n % 50",
            correlation_key="'PAY-' || n", correlation_keys="jsonb_build_array('PAY-' || n)", received_at=at,
            route_at=at, routed_at=at, outcome="CASE WHEN n % 20 = 0 THEN 'unmatched' ELSE 'delivered' END",
            **folded(self.event, "correlation_key_folded", "'pay-' || n"),
        )  # fmt: skip
        clone(
            self.key, first, last, event_id=events, event_type="'TYPE-' || n % 50", key="'PAY-' || n", received_at=at,
            **folded(self.key, "key_folded", "'pay-' || n"),
        )  # fmt: skip
        clone(
            self.delivery, *tenth, event_id="md5('workflow_runtime_events' || n)::uuid", run_id=tenth_run,
            wait_id=waits, created_at=at, status="CASE WHEN n % 10 = 0 THEN 'dead' ELSE 'matched' END",
        )  # fmt: skip
        clone(
            self.task, *tenth, run_id=tenth_run, wait_id=waits, created_at=at, due_at=f"{at} + interval '1 day'",
            status="CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'completed' END",
        )  # fmt: skip
        clone(
            self.command, first // 4 + 1, last // 4, idempotency_key="'filled-' || n", requested_at=at,
            run_id="md5('workflow_runs' || n * 4)::uuid", target_id="md5('workflow_runs' || n * 4)::uuid::text",
        )  # fmt: skip

    def _fill_incidents(self) -> None:
        """Store the incidents of three error codes for each definition. Their number does not depend on the runs."""
        from benchmarks._filling import clone, copy_id

        at = "now() - n * interval '1 minute'"
        clone(
            self.incident, 1, INCIDENTS, number="n + 1", fingerprint="'filled-' || n", last_failed_at=at,
            definition_id=self._of_definition(lambda row: f"'{row.definition_id}'::uuid"),
        )  # fmt: skip
        incidents = copy_id(self.incident._meta.db_table)
        clone(self.incident_hour, 1, INCIDENTS, incident_id=incidents)

    def _of_definition(self, value: Any) -> str:
        """Return an SQL expression: half of the runs are of the first definition, the others of the other ones."""
        values = ", ".join(value(version) for version in self.versions)
        return f"(ARRAY[{values}])[CASE WHEN n % 2 = 0 THEN 1 ELSE 2 + (n / 2) % 19 END]"


def folded(row: Any, name: str, value: str) -> dict[str, str]:
    return {name: value} if any(one.name == name for one in row._meta.concrete_fields) else {}
