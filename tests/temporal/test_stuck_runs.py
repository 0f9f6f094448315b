"""Runs that Temporal cannot move, because their workflow task fails again and again.

Source: docs/reference/authority.md#stuck-runs
"""

import math
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from tests.support.api import Api
from tests.support.factories import eventually, make_run, make_tenant, make_token, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.own_sweep import sweep_only
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command, Run, RunWait
from workflows.projections.repairs import record_seen
from workflows.projections.transaction import projection_writer
from workflows.selectors.counts import problem_counts
from workflows.services.runs import candidates
from workflows.services.runs.control import run_terminate
from workflows.services.runs.reconcile import run_reconcile
from workflows.services.runs.reconcile_sweep import runs_reconcile
from workflows.temporal import gateway, performing
from workflows.temporal.task_failures import StuckTask

CAUSE = "WORKFLOW_WORKER_UNHANDLED_FAILURE: RuntimeError: a bug of this release"


@pytest.fixture
def broken_release(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let every workflow task fail until the test calls `undo` of the result."""
    monkeypatch.setattr(candidates, "SUSPECT_AFTER", timedelta(0))

    def broken() -> int:
        raise RuntimeError("a bug of this release\nvalue of a payload")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(performing, "now_ms", broken)
        yield patched


def stuck_run(driver: TenantDriver) -> Run:
    """Start a run, and wait until its workflow task has failed twice."""
    publish(driver.tenant, wait_for_reply())
    run = driver.start({"ticketId": "T-1"})

    def has_failed_twice() -> bool:
        pending = gateway.describe_run(workflow_id=run.temporal_workflow_id).pending_task
        return pending is not None and pending.attempt >= 3

    eventually(has_failed_twice, what="the workflow task has failed twice")
    return run


def test_stuck_run_is_shown_everywhere_and_can_be_terminated(
    driver: TenantDriver, broken_release: pytest.MonkeyPatch
) -> None:
    sweep_only(driver.tenant, broken_release)
    run = stuck_run(driver)
    line = f"{run.id} stuck: Temporal cannot move this run"

    def is_found() -> bool:
        return any(found.startswith(line) for found in runs_reconcile(budget_seconds=20).lines)

    eventually(is_found, what="a sweep finds the run")
    run.refresh_from_db()
    assert (run.status, run.stuck_attempts >= 3, run.stuck_cause) == ("STARTING", True, CAUSE)

    api, admin = Api(make_token(driver.tenant)), member_of(driver.tenant, role="admin")
    verified = api.post(f"/runs/{run.id}/verify").json()
    pending = verified["pending_task"]
    assert (verified["equal"], pending["is_stuck"], pending["attempt"] >= 3) == (True, True, True)
    assert (pending["cause"] == CAUSE, "Temporal cannot move this run" in verified["notes"][-1]) == (True, True)
    shown = api.get(f"/runs/{run.id}").json()
    assert (shown["stuck_attempts"], shown["stuck_cause"]) == (run.stuck_attempts, run.stuck_cause)
    page = f"/admin/workflows/run/{run.id}"
    for content in (
        admin.get(f"{page}/change/").content.decode(),
        admin.post(f"{page}/verify/").content.decode(),
        admin.get(f"{page}/cancel/").content.decode(),
    ):
        assert "check that a\n        Temporal worker is running" not in content
        assert ("Temporal cannot move this run" in content, "a bug of this release" in content) == (True, True)
    assert "Runs that Temporal cannot move" in admin.get("/admin/").content.decode()
    assert any("Temporal cannot move" in warning for warning in Client().get("/readyz").json()["warnings"])
    assert problem_counts().stuck_runs >= 1

    def metric_is_the_count() -> bool:
        """The metric counts all tenants. Workers in threads of this process may still change runs of other tests."""
        line = f"\npointsman_stuck_runs {problem_counts().stuck_runs}\n"
        return line in Client().get("/metrics").content.decode()

    eventually(metric_is_the_count, what="the metric is the count")

    accepted = api.post(f"/runs/{run.id}/cancel").json()
    assert (accepted["state"], accepted["warning"]["code"]) == ("accepted", "RUN_STUCK")
    assert "an administrator must terminate it" in accepted["warning"]["message"]
    command = Command.objects.get(run=run, action="cancel")
    assert (command.state, command.code) == ("accepted", "RUN_STUCK")
    shown_messages = [
        str(one) for one in admin.post(f"{page}/cancel/", {"reason": "x"}, follow=True).context["messages"]
    ]
    assert "RUN_STUCK" in shown_messages[0], shown_messages
    run_terminate(actor=driver.actor, run_id=run.id, reason="no newer worker")
    assert run_reconcile(run_id=run.id).outcome == "ended"
    run.refresh_from_db()
    assert (run.status, run.stuck_since, run.stuck_attempts, run.stuck_cause) == ("TERMINATED", None, 0, "")


def test_run_that_moves_again_is_no_longer_shown_as_stuck(
    driver: TenantDriver, broken_release: pytest.MonkeyPatch
) -> None:
    run = stuck_run(driver)
    assert run_reconcile(run_id=run.id).outcome == "stuck"
    assert run_reconcile(run_id=run.id).outcome == "equal"  # reported once
    broken_release.undo()
    moved = driver.wait_for_run("WAITING", id=run.id)
    assert (moved.stuck_since, moved.stuck_attempts, moved.stuck_cause) == (None, 0, "")
    eventually(lambda: gateway.describe_run(workflow_id=run.temporal_workflow_id).pending_task is None)
    assert Api(make_token(driver.tenant)).post(f"/runs/{run.id}/verify").json()["pending_task"] is None
    # A mark without a reason is removed by the next comparison.
    stuck = StuckTask(run.created_at, 7, "NON_DETERMINISTIC_ERROR")
    assert record_seen(moved, first_run_id="", history_events=1, history_bytes=1, stuck=stuck)
    assert Run.objects.get(id=run.id).stuck_attempts == 7
    run_reconcile(run_id=run.id)
    assert Run.objects.get(id=run.id).stuck_since is None


@pytest.mark.parametrize("sign", ["overdue", "moving", "marked", "none"])
def test_suspects_are_found_by_their_rows(tenant: Any, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    """A waiting run without a sign is left to the walk, which compares it ten minutes later."""
    monkeypatch.setattr(candidates, "SUSPECT_AFTER", timedelta(seconds=-1))
    run = make_run(tenant, temporal_first_run_id="known", status="RUNNING" if sign == "moving" else "WAITING")
    if sign == "overdue":
        with projection_writer("test"):
            RunWait.objects.create(
                tenant=tenant, run=run, step_path="root.steps[0]", step_id="w", kind="time", status="WAITING",
                opened_at=run.created_at, deadline_at=run.created_at,
            )  # fmt: skip
    if sign == "marked":
        record_seen(run, first_run_id="", history_events=1, history_bytes=1, stuck=StuckTask(run.created_at, 3, "C"))
    assert (run.id in set(candidates.suspected_runs())) == (sign != "none")


def test_runs_that_may_be_stuck_are_compared_before_the_walks_of_all_tenants(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tenant with many such runs does not delay the run of another tenant."""
    long_ago = timezone.now() - timedelta(days=2)
    monkeypatch.setattr(candidates, "SUSPECT_AFTER", timedelta(days=1))
    moving = {"temporal_first_run_id": "known", "status": "RUNNING", "projected_at": long_ago}
    crowd, waiting = make_tenant(), make_tenant()
    crowded = {make_run(crowd, **moving).id for _ in range(candidates.SUSPECT_BATCH + 5)}
    walked = {make_run(waiting, status="WAITING", projected_at=long_ago).id for _ in range(3)}
    run = make_run(tenant, **moving)
    order = list(candidates.walked_runs(stop_at=math.inf))
    of_crowd = [order.index(run_id) for run_id in crowded if run_id in order]
    position = order.index(run.id)
    assert sum(index < position for index in of_crowd) <= 1
    last_suspect = sorted(of_crowd)[candidates.SUSPECT_BATCH - 1]  # the others of the crowd are left to the walk
    assert last_suspect < min(map(order.index, walked))


def test_counts_of_stuck_runs_use_an_index(database: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            plan = Run.objects.filter(stuck_since__isnull=False).only("id").explain()
        finally:
            cursor.execute("SET enable_seqscan = on")
    assert "workflow_runs_stuck" in plan
