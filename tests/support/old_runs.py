"""Rows of closed runs that ended long ago, as retention finds them."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from ingress.intake.receive import event_receive
from tests.support.factories import make_run
from tests.support.management_commands import run_command
from workflows.models import (
    ActionInvocation,
    Event,
    EventDelivery,
    HumanTask,
    Notification,
    Run,
    RunLog,
    RunStep,
    RunValue,
    RunWait,
    TaskDraft,
    Tenant,
)
from workflows.projections.retention import Position, RunBatch, old_families, prune_runs
from workflows.projections.transaction import projection_writer
from workflows.statuses import EventSource


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


def make_old_run(tenant: Tenant, *, days: float = 100, **fields: Any) -> Run:
    """Create a closed run that ended some days ago."""
    ended = days_ago(days)
    values = {"status": "SUCCEEDED", "created_at": ended - timedelta(hours=1), "ended_at": ended, **fields}
    return make_run(tenant, **values)


def make_old_event(tenant: Tenant, *, days: float = 100, **fields: Any) -> Event:
    """Store an event that was received and routed some days ago, and that no wait and no trigger took.

    One transaction, because a worker of another test would route the event as soon as it can see it. `routed_at=None`:
    the event is not due, so no worker routes it later.
    """
    value = {"event_type": "TICKET_CREATED", "payload": {"ticketId": uuid.uuid4().hex}}
    at, tomorrow = days_ago(days), days_ago(-1)
    old = {"received_at": at, "routed_at": at, "route_at": tomorrow, "buffered_until": None, "outcome": "unmatched"}
    with transaction.atomic():
        event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
        Event.objects.filter(id=event.id).update(**{**old, **fields})
    return Event.objects.get(id=event.id)


def fill_run(run: Run, event: Event) -> None:
    """Add one row of each table that belongs to a run."""
    tenant, at = run.tenant, run.ended_at or timezone.now()
    place = {"tenant": tenant, "run": run, "step_path": "root.steps[0]", "step_id": "s"}
    with projection_writer("test"):
        wait = RunWait.objects.create(**place, kind="human", status="RESOLVED", opened_at=at, event=event)
        RunStep.objects.create(**place, step_type="human.task", status="SUCCEEDED", started_at=at, child_run=run)
        Run.objects.filter(id=run.id).update(event=event)
    RunLog.objects.create(tenant=tenant, run=run, at=at, message="line")
    RunValue.objects.create(tenant=tenant, run=run, definition=run.definition, path="a", shown="1", text="1")
    task = HumanTask.objects.create(**place, wait=wait, task_type="approve", title="Approve", status="completed")
    user = get_user_model().objects.create(username=f"u-{uuid.uuid4().hex}")
    TaskDraft.objects.create(tenant=tenant, task=task, user=user)
    EventDelivery.objects.create(tenant=tenant, event=event, kind="wait", wait=wait, run=run, status="matched")
    Notification.objects.create(tenant=tenant, run=run, user=user, idempotency_key=str(run.id), title="T")
    for key in (f"{run.id}/root.steps[0]", f"payment {run.id}"):
        ActionInvocation.objects.create(
            tenant=tenant, run=run, action_id="pay", action_version=1, idempotency_key=key, input={"card": "1"},
            output={"ok": True}, status="SUCCEEDED",
        )  # fmt: skip


def prune_batch(tenant: Tenant, *, limit: int, after: Position | None = None) -> tuple[RunBatch, Position | None]:
    """Delete one batch of runs that ended 90 days ago, without a request to Temporal. Return also the position."""
    before = days_ago(90)
    families = old_families(tenant_id=tenant.id, before=before, after=after, limit=limit)
    batch = prune_runs(tenant_id=tenant.id, families=families, before=before, days=90, unended={})
    return batch, families.position


def prune(tenant: Tenant, *more: str) -> str:
    """Run `manage.py prune` for one tenant, and return its output."""
    return run_command("prune", "--tenant", tenant.slug, *more)


def runs_of(tenant: Tenant) -> set[uuid.UUID]:
    return set(Run.objects.filter(tenant=tenant).values_list("id", flat=True))
