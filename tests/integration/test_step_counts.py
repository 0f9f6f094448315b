"""Counters of the map: each final step and each end of a run counts once (docs/reference/screens.md#map)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import make_run, make_tenant, publish
from tests.support.plans import conditions_of, copies, plan_of
from tests.support.step_rows import count_all_steps, fail_run, record_steps
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import HumanTask, Run, RunWait, StepCount
from workflows.projections import step_counts
from workflows.projections.step_counts import forget_step_counts, record_step_counts
from workflows.projections.transaction import projection_writer
from workflows.selectors.step_counts import map_numbers, open_runs, uncounted_runs
from workflows.tasks import count_steps

LONG_AGO = timedelta(days=7)
A, B, LOOP = "root.steps[0]", "root.steps[1]", "root.steps[2]"
INNER = f"{LOOP}.body.steps[0]"


@pytest.fixture
def version(tenant: Any) -> Any:
    return publish(tenant, {"id": "a", "type": "state.set", "config": {"state": "X"}})


def numbers_of(version: Any) -> Any:
    return map_numbers(version, since=timezone.now() - LONG_AGO)


def test_each_final_step_and_each_end_counts_once(tenant: Any, version: Any) -> None:
    run = make_run(tenant, definition_version=version)
    record_steps(run, (A, "SUCCEEDED", {"branch": "then"}), (B, "STARTED", {"ended_at": None}))
    assert uncounted_runs(tenant_id=tenant.id).exists()
    for _ in range(2):
        count_all_steps(tenant)
    numbers = numbers_of(version)
    assert set(numbers.steps) == {A}  # the other step is not final
    assert (numbers.steps[A].executions, numbers.steps[A].branches) == (1, {"then": 1})
    assert not uncounted_runs(tenant_id=tenant.id).exists()

    record_steps(run, (B, "FAILED", {"seconds": 8}))
    fail_run(run, B)
    for _ in range(2):
        count_all_steps(tenant)
    numbers = numbers_of(version)
    assert numbers.steps[A].executions == 1
    assert (numbers.steps[B].failed, numbers.steps[B].caught, numbers.steps[B].executions) == (1, 0, 1)
    assert (numbers.ended, numbers.closed_count) == ({"FAILED": 1}, 1)


def test_an_end_without_a_new_sequence_number_is_counted(tenant: Any, version: Any) -> None:
    run = make_run(tenant, definition_version=version)
    record_steps(run, (A, "SUCCEEDED", {}))
    count_all_steps(tenant)
    record_steps(run, status="TERMINATED", ended_at=timezone.now())
    for _ in range(2):
        count_all_steps(tenant)
    assert numbers_of(version).ended == {"TERMINATED": 1}


def test_caught_errors_are_not_failures_of_runs(tenant: Any, version: Any) -> None:
    run = make_run(tenant, definition_version=version)
    items = [(INNER, "FAILED" if number == 1 else "SUCCEEDED", {"iteration": str(number)}) for number in range(4)]
    record_steps(run, *items, (LOOP, "FAILED", {}), (B, "FAILED", {}))
    fail_run(run, f"{LOOP}.body.steps[1]")
    count_all_steps(tenant)
    steps = numbers_of(version).steps
    assert (steps[INNER].executions, steps[INNER].caught, steps[INNER].failed) == (4, 1, 0)
    assert steps[LOOP].caught == 0  # the loop is on the way of the failure
    assert steps[B].caught == 1
    assert steps[f"{LOOP}.body.steps[1]"].failed == 1


def test_time_of_an_execution_includes_its_retries(tenant: Any, version: Any) -> None:
    run = make_run(tenant, definition_version=version)
    later = {"attempt": 2, "started_at": run.created_at + timedelta(seconds=60), "seconds": 61}
    record_steps(run, (A, "RETRY_SCHEDULED", {}), (A, "SUCCEEDED", later))
    record_steps(run, *((B, "SUCCEEDED", {"iteration": str(n), "seconds": n / 10}) for n in range(1, 101)))
    count_all_steps(tenant)
    steps = numbers_of(version).steps
    assert steps[A].executions == 1
    assert steps[A].percentile(0.5) == pytest.approx(61, rel=0.1)
    assert steps[B].percentile(0.5) == pytest.approx(5, rel=0.1)
    assert steps[B].percentile(0.95) == pytest.approx(9.5, rel=0.1)


def test_numbers_belong_to_their_period_version_and_tenant(tenant: Any, version: Any, settings: Any) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    old = make_run(tenant, definition_version=version, created_at=hour - timedelta(hours=3))
    ancient = make_run(tenant, definition_version=version, created_at=hour - timedelta(days=9))
    new = make_run(tenant, definition_version=version, created_at=hour)  # also if the next hour begins during the test
    other = make_run(make_tenant())
    replay = make_run(tenant, definition_version=version, replay_of=new)
    for run in (old, ancient, new, other, replay):
        record_steps(run, (A, "SUCCEEDED", {}))
    settings.STEP_COUNT_INTERVAL_SECONDS = 3_600  # the time of the task suffices for the tenants of all tests
    count_steps()
    assert numbers_of(version).steps[A].executions == 2
    assert map_numbers(version, since=hour).steps[A].executions == 1
    assert not uncounted_runs(tenant_id=tenant.id).exists()
    StepCount.objects.filter(tenant=tenant, hour=hour).update(hour=hour - timedelta(days=9))
    assert forget_step_counts(tenant_id=tenant.id) > 0
    assert numbers_of(version).steps[A].executions == 1


def test_batches_are_bounded_by_runs_and_by_steps(tenant: Any, version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_counts, "MAX_RUNS", 3)
    monkeypatch.setattr(step_counts, "MAX_STEPS", 10)
    for _ in range(4):
        record_steps(make_run(tenant, definition_version=version), (A, "SUCCEEDED", {}))
    record_steps(make_run(tenant, definition_version=version), (A, "SUCCEEDED", {}), step_count=500)
    assert [record_step_counts(tenant_id=tenant.id) for _ in range(4)] == [3, 1, 1, 0]
    assert numbers_of(version).steps[A].executions == 5


def test_reading_needs_no_scan_of_a_big_table(tenant: Any, version: Any) -> None:
    run = make_run(tenant, definition_version=version, status="SUCCEEDED", ended_at=timezone.now())
    record_steps(run, (A, "SUCCEEDED", {}))
    count_all_steps(tenant)
    copies(Run.objects.get(id=run.id), 20_000, temporal_workflow_id="'copy-' || n")
    counter = StepCount.objects.filter(tenant=tenant, step_path=A)[0]
    copies(counter, 20_000, hour="now() - n * interval '1 hour'")
    uncounted = plan_of(tenant, uncounted_runs(tenant_id=tenant.id)[:500])
    assert "workflow_runs_uncounted" in [node.get("Index Name") for node in uncounted]
    since = timezone.now() - timedelta(hours=1)
    counted = StepCount.objects.filter(tenant=tenant, definition_version=version, hour__gte=since)
    assert "hour >= " in conditions_of(tenant, counted)


def test_open_runs_are_counted_at_their_current_step(tenant: Any, version: Any) -> None:
    runs = [make_run(tenant, status="RUNNING", definition_version=version, current_step_path=B) for _ in range(3)]
    make_run(tenant, definition_version=version, current_step_path=A, status="RUNNING")
    make_run(tenant, definition_version=version, current_step_path=B, status="FAILED")
    opened = {"step_path": B, "step_id": "b", "status": "WAITING", "opened_at": timezone.now()}
    with projection_writer("test"):
        for run in runs[:2]:
            RunWait.objects.create(tenant=tenant, run=run, kind="retry", **opened)
        HumanTask.objects.create(tenant=tenant, run=runs[0], step_path=B, task_type=DECIDE_OUTCOME, title="t")
    found = open_runs(version.definition).versions[version.version]
    assert (found[B].open, found[B].unknown, found[B].retrying) == (3, 1, 1)
    assert (found[A].open, found[A].retrying) == (1, 0)
