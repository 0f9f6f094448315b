"""Rows of the problems that the dashboard counts, and the page of the dashboard."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.cache import caches
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant, publish
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import (
    BulkJob,
    Command,
    Definition,
    Event,
    EventDelivery,
    HumanTask,
    Incident,
    IncidentFailure,
    Run,
    RunStep,
    Schedule,
)
from workflows.models.fields import new_id
from workflows.projections.transaction import projection_writer

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def ago(span: timedelta) -> Any:
    return timezone.now() - span


def add_failed(tenant: Any) -> Run:
    return make_run(
        tenant, status="FAILED", correlation_key="PAY-1", error_code="NOT_FOUND", started_at=ago(2 * MINUTE),
        ended_at=ago(MINUTE), error={"category": "A", "message": "m", "nodePath": "x", "code": "NOT_FOUND"},
    )  # fmt: skip


def add_stuck(tenant: Any) -> Run:
    return make_run(tenant, stuck_since=ago(HOUR), stuck_cause="TypeError: no", correlation_key="PAY-2")


def add_drift(tenant: Any) -> Run:
    return make_run(tenant, drift_found_at=ago(HOUR), drift_reason="the status differs", correlation_key="PAY-3")


def add_schedule(tenant: Any, definition: Definition | None = None, **fields: Any) -> Schedule:
    """Add a schedule that the reconciler has just compared."""
    values = {
        "definition": definition or make_run(tenant, status="SUCCEEDED").definition, "name": "nightly",
        "origin": "portal", "kind": "recurring", "cron": "0 3 * * *", "last_synced_at": ago(MINUTE),
        "temporal_schedule_id": str(new_id()),
    }  # fmt: skip
    return Schedule.objects.create(tenant=tenant, **{**values, **fields})


def add_differing_schedule(tenant: Any, **fields: Any) -> Schedule:
    error = {"at": ago(MINUTE).isoformat(), "code": "TEMPORAL_REFUSED", "message": "another process changes it too"}
    return add_schedule(tenant, sync_error=error, **fields)


def add_starting(tenant: Any) -> Run:
    return make_run(tenant, status="STARTING", created_at=ago(HOUR))


def add_command(tenant: Any) -> Command:
    return Command.objects.create(
        tenant=tenant, action="cancel", target_type="run", target_id="1", actor_type="user", actor_name="a",
        source="admin", state="unknown",
    )  # fmt: skip


def add_retry(tenant: Any, began: timedelta = 20 * MINUTE) -> Run:
    upload = {"id": "upload", "type": "state.set", "config": {"state": "X"}, "retry": {"maxAttempts": 4}}
    version = publish(tenant, upload)
    run = make_run(tenant, correlation_key="PAY-4", definition_version=version)
    step = {"step_path": "root.steps[0]", "step_id": "upload"}
    with projection_writer("test"):
        for attempt, started_at in ((1, ago(began)), (2, ago(MINUTE))):
            RunStep.objects.create(
                tenant=tenant, run=run, step_type="action", name="Upload it", status="RETRY_SCHEDULED", attempt=attempt,
                started_at=started_at, error={"category": "A", "code": "MAINTENANCE", "message": "m"}, **step,
            )  # fmt: skip
    open_wait(tenant, run=run, kind="retry", name="", key="", deadline_at=timezone.now() + 5 * MINUTE, **step)
    return run


def add_overdue(tenant: Any, late: timedelta = 17 * MINUTE) -> Run:
    run = make_run(tenant, correlation_key="TCK-1")
    open_wait(tenant, run=run, deadline_at=ago(late))
    open_wait(tenant, run=run, key="T-2", deadline_at=ago(late))
    return run


def add_task(tenant: Any, **fields: Any) -> HumanTask:
    values = {"step_path": "root.steps[0]", "task_type": "t", "title": "Approve", "due_at": timezone.now() + MINUTE}
    return HumanTask.objects.create(tenant=tenant, run=make_run(tenant), **{**values, **fields})


def add_decision(tenant: Any) -> HumanTask:
    return add_task(tenant, task_type=DECIDE_OUTCOME, due_at=None, title="Did it happen?")


def add_delivery(tenant: Any, **fields: Any) -> EventDelivery:
    definition = make_run(tenant, status="SUCCEEDED").definition
    return EventDelivery.objects.create(
        tenant=tenant, event=receive(tenant, event_id=f"e-{definition.key}"), kind="trigger", definition=definition,
        **fields,
    )  # fmt: skip


def add_dead(tenant: Any) -> EventDelivery:
    return add_delivery(tenant, status="dead", attempts=8, decided_at=ago(HOUR))


def add_rejected(tenant: Any) -> Any:
    return _event(tenant, "rejected", "payload_rejected")


def add_unused(tenant: Any) -> Any:
    return _event(tenant, "unmatched", "no_wait")


def _event(tenant: Any, outcome: str, code: str, received_at: Any = None) -> Any:
    event = receive(tenant, event_id=new_id().hex)
    changed = {"outcome": outcome, "outcome_code": code, "received_at": received_at or ago(HOUR)}
    Event.objects.filter(id=event.id).update(**changed)
    return event


def add_held(tenant: Any) -> EventDelivery:
    return add_delivery(tenant, status="pending", held_since=ago(HOUR))


def add_paused_job(tenant: Any) -> BulkJob:
    for state in ("running", "preview"):
        bulk_job(tenant, state)
    return bulk_job(tenant, "paused")


def bulk_job(tenant: Any, state: str) -> BulkJob:
    return BulkJob.objects.create(
        tenant=tenant, action="replay", state=state, total=40, actor_type="user", actor_name="a", actor_role="operator",
        source="admin", started_at=ago(MINUTE),
    )  # fmt: skip


def add_paused(tenant: Any) -> None:
    definition = make_run(tenant, status="SUCCEEDED").definition
    fields = {"is_paused": True, "is_auto_paused": True, "paused_at": timezone.now(), "paused_reason": "9 of 10 failed"}
    Definition.objects.filter(id=definition.id).update(**fields)


def add_unaffected(tenant: Any) -> None:
    """Add rows that no problem counts, although they are like the rows that one counts."""
    make_run(tenant, status="FAILED", started_at=ago(30 * HOUR), ended_at=ago(25 * HOUR))
    make_run(tenant, status="SUCCEEDED", replay_of=make_run(tenant, status="FAILED", ended_at=ago(MINUTE)))
    make_run(tenant, status="SUCCEEDED", stuck_since=ago(HOUR), drift_found_at=ago(HOUR), ended_at=ago(MINUTE))
    make_run(tenant, status="STARTING")
    make_run(tenant, status="STARTING", created_at=ago(HOUR), queued_until=timezone.now())
    owned = add_incident(add_failed(tenant), owner_name="Jonas")
    add_incident(add_failed(tenant), merged_into=owned)
    add_incident(add_failed(tenant), state="snoozed")
    add_retry(tenant, began=5 * MINUTE)
    add_overdue(tenant, late=timedelta(seconds=2))
    add_task(tenant, due_at=timezone.now() + 2 * HOUR)
    add_task(tenant, status="completed")
    add_delivery(tenant, status="pending")
    changed = {"at": ago(25 * HOUR).isoformat(), "message": "changed in Temporal: its pause"}
    add_schedule(tenant, drift=changed)
    add_differing_schedule(tenant, removed_at=ago(MINUTE))
    for outcome, code, hours in (
        ("rejected", "", 25),
        ("uncorrelated", "", 25),
        ("delivered", "", 1),
        ("buffered", "", 1),
    ):
        _event(tenant, outcome, code, ago(hours * HOUR))
    for add in PROBLEMS.values():
        add(make_tenant())


def add_incident(run: Run, **fields: Any) -> Incident:
    """Add the incident of a failed run."""
    at, number = run.ended_at, Incident.objects.filter(tenant=run.tenant).count() + 1
    incident = Incident.objects.create(
        tenant=run.tenant, definition=run.definition, number=number, fingerprint=str(number), run_count=1,
        first_failed_at=at, last_failed_at=at, **fields,
    )  # fmt: skip
    IncidentFailure.objects.create(
        tenant=run.tenant, incident=incident, run_id=run.id, origin_id=run.id, failed_at=at, version=1, is_counted=True
    )
    return incident


PROBLEMS: dict[str, Callable[[Any], Any]] = {
    "stuck": add_stuck,
    "unknown": add_decision,
    "failed": add_failed,
    "auto_paused": add_paused,
    "retrying": add_retry,
    "due": add_task,
    "overdue": add_overdue,
    "paused_jobs": add_paused_job,
    "dead": add_dead,
    "rejected_events": add_rejected,
    "starting": add_starting,
    "commands": add_command,
    "drift": add_drift,
    "schedules": add_differing_schedule,
    "held": add_held,
    "unused_events": add_unused,
}


def dashboard(client: Client) -> Any:
    caches["process"].clear()
    return client.get(reverse("admin:index"))
