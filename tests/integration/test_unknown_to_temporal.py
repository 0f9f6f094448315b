"""Runs whose rows are open, although Temporal does not know them: each contradiction marks the run at once.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch.delivery import events_deliver_due
from ingress.dispatch.routing import event_route
from ingress.dispatch.targets import event_deliver_to_wait
from ingress.explain.forecast import wait_forecast
from tests.support.events import open_wait, receive
from tests.support.factories import make_actor, make_run
from tests.support.members import member_of
from tests.support.problems import add_task
from workflows.errors import Conflict
from workflows.ledger import command_open
from workflows.models import Command, EventDelivery, Run, Tenant
from workflows.projection_differences import Difference
from workflows.projections.transaction import projection_writer
from workflows.services import command_reconcile, human_tasks
from workflows.services.runs import rebuild, verify
from workflows.services.runs.control import run_cancel, run_terminate
from workflows.services.runs.rebuild import RunRebuild
from workflows.services.runs.verify import run_verify
from workflows.statuses import CommandAction, CommandState, ReconcileOutcome
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")
HOUR = timedelta(hours=1)


def not_found(*_: Any, **__: Any) -> NoReturn:
    raise gateway.TemporalNotFound("workflow not found for ID: x")


@pytest.fixture(autouse=True)
def _temporal_without_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("signal_event", "cancel_run", "terminate_run", "describe_run"):
        monkeypatch.setattr(gateway, name, not_found)
    monkeypatch.setattr(human_tasks, "complete_task", not_found)
    monkeypatch.setattr(rebuild, "read_run_history", not_found)


def started_run(tenant: Tenant, **fields: Any) -> Run:
    return make_run(tenant, temporal_first_run_id="first", projected_at=timezone.now() - HOUR, **fields)


def deliver(run: Run) -> str:
    delivery = EventDelivery.objects.create(
        tenant=run.tenant, event=receive(run.tenant), kind="wait", wait=open_wait(run.tenant, run=run), run=run
    )
    status, reason = event_deliver_to_wait(delivery)
    assert status == "late"
    return reason


def cancel(run: Run) -> str:
    with pytest.raises(Conflict) as raised:
        run_cancel(actor=make_actor(run.tenant), run_id=run.id)
    return f"{raised.value.details['reason']} {raised.value.details['hint']}"


def terminate(run: Run) -> str:
    with pytest.raises(Conflict) as raised:
        run_terminate(actor=make_actor(run.tenant, role="admin"), run_id=run.id, reason="it hangs")
    return f"{raised.value.details['reason']} {raised.value.details['hint']}"


def complete(run: Run) -> str:
    task = add_task(run.tenant)
    type(task).objects.filter(id=task.id).update(run=run)
    with pytest.raises(Conflict) as raised:
        human_tasks.task_complete(actor=make_actor(run.tenant), task_id=task.id, response={})
    return f"{raised.value.message} {raised.value.details['hint']}"


def compare(run: Run) -> str:
    assert run_verify(actor=make_actor(run.tenant, role="viewer"), run_id=run.id).is_equal is False
    return ""


def decide_unknown_cancel(run: Run) -> str:
    actor = make_actor(run.tenant)
    command = command_open(actor=actor, action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run)
    decision = command_reconcile.DECIDERS[CommandAction.CANCEL](command)
    assert decision is not None
    return decision[1]


@pytest.mark.parametrize(
    ("ask", "texts"),
    [
        (deliver, ["Temporal does not know the run: workflow not found"]),
        (cancel, ["does not know this run, or has ended it", "(Verify), then repair it", "replay the run"]),
        (terminate, ["does not know this run, or has ended it", "(Verify), then repair it"]),
        (complete, ["Temporal does not know the run; the task was not changed", "(Verify)"]),
        (decide_unknown_cancel, ["Temporal does not know the run"]),
        (compare, []),
    ],
)
def test_each_contradiction_marks_the_run_and_its_page(
    tenant: Any, ask: Callable[[Run], str], texts: list[str]
) -> None:
    run = started_run(tenant)
    said = ask(run)
    assert ([text for text in texts if text not in said], "Restore Temporal" in said) == ([], False), said
    found = Run.objects.get(id=run.id)
    assert (found.status, found.drift_found_at is not None) == ("WAITING", True)
    assert "Temporal does not know this run" in found.drift_reason
    page = run_page(run)
    assert ("This page may be wrong." in page, "Compare with Temporal and repair…" in page) == (True, True)
    assert "Send this event" not in page


def test_event_for_a_run_that_temporal_does_not_know_says_so(tenant: Any) -> None:
    open_wait(tenant, run=started_run(tenant))
    event = receive(tenant)
    event_route(event.id)
    events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
    client = member_of(tenant, role="operator")
    page = client.get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert "Temporal does not know the run that waited for it." in page
    assert "compare it with Temporal" in page
    assert ("had closed" in page, "had ended" in page, "came too late" in page) == (False, False, False)


def test_forecast_and_near_miss_name_the_difference_from_temporal(tenant: Any) -> None:
    wait = open_wait(tenant, run=started_run(tenant))
    assert wait_forecast(wait, receive(tenant)).why == "the wait has no filters"
    wait.run.drift_found_at = timezone.now()
    assert "differ from Temporal" in wait_forecast(wait, receive(tenant, event_id="e-2")).why
    with projection_writer("test"):
        Run.objects.filter(id=wait.run_id).update(drift_found_at=timezone.now())
    event = receive(tenant, workflow_correlation_key="t-1")
    event_route(event.id)
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert "Its run differs from Temporal." in page


@pytest.mark.parametrize("is_busy", [True, False])
def test_end_of_a_run_is_not_claimed_without_a_comparison(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    def describe(**_: Any) -> NoReturn:
        raise gateway.TemporalUnreachable("connect error") if is_busy else gateway.TemporalNotFound("not found")

    monkeypatch.setattr(gateway, "describe_run", describe)
    run = started_run(tenant)
    for said in (deliver(run), complete(run)):
        assert ("or has ended it" in said, "the run has ended" in said) == (is_busy, False)


def run_page(run: Run) -> str:
    client = member_of(run.tenant, role="operator")
    return client.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()


def test_run_whose_start_is_not_confirmed_is_neither_marked_nor_started(tenant: Any) -> None:
    run = make_run(tenant, status="STARTING", created_at=timezone.now() - HOUR)
    assert "not confirmed its start" in cancel(run)
    assert Run.objects.get(id=run.id).drift_found_at is None


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (gateway.TemporalUnreachable("connect error"), "Restore Temporal, then cancel"),
        (gateway.TemporalBusy("closing"), "In some seconds, cancel it again"),
        (gateway.TemporalTimeout("deadline"), "It is not known yet if the request has arrived"),
        (gateway.TemporalRefused("PERMISSION_DENIED: no"), "Read the error of Temporal"),
    ],
)
def test_advice_after_a_failed_cancel_fits_its_cause(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, hint: str
) -> None:
    def fail(**_: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(gateway, "cancel_run", fail)
    run = started_run(tenant)
    assert hint in cancel(run)
    assert Run.objects.get(id=run.id).drift_found_at is None


def test_page_keeps_a_failed_cancel_until_a_newer_one_is_accepted(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started_run(tenant)
    cancel(run)
    assert "A cancel by" in run_page(run)
    monkeypatch.setattr(gateway, "cancel_run", lambda **_: None)
    run_cancel(actor=make_actor(tenant), run_id=run.id)
    page = run_page(run)
    assert ("A cancel by" in page, "Cancel requested by" in page) == (False, True)
    assert list(Command.objects.filter(run=run).order_by("requested_at").values_list("state", flat=True)) == [
        CommandState.REFUSED, CommandState.ACCEPTED,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "notes", "age", "expected"),
    [
        (ReconcileOutcome.REBUILT, [], HOUR, "a comparison with Temporal found 1 different field"),
        (ReconcileOutcome.REBUILT, ["1 activities are in progress"], HOUR, "before"),
        (ReconcileOutcome.REBUILT, [], timedelta(), "before"),  # the run has just written its rows
        (ReconcileOutcome.BUSY, ["try again"], HOUR, "before"),
        (ReconcileOutcome.EQUAL, [], HOUR, ""),
    ],
)
def test_comparison_sets_and_clears_the_mark(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, outcome: ReconcileOutcome, notes: list[str], age: timedelta,
    expected: str,
) -> None:  # fmt: skip
    run = make_run(
        tenant, projected_at=timezone.now() - age, drift_reason="before", drift_found_at=timezone.now() - HOUR
    )
    differences = [Difference("run", "state", "A", "B")] if outcome == ReconcileOutcome.REBUILT else []
    monkeypatch.setattr(verify, "run_rebuild", lambda **_: RunRebuild(run.id, outcome, differences, notes))
    run_verify(actor=make_actor(tenant, role="viewer"), run_id=run.id)
    found = Run.objects.get(id=run.id)
    assert (found.drift_reason, found.drift_found_at is not None) == (expected, expected != "")
