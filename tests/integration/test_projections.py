"""Projection records that are repeated, late, out of order or of an older epoch change nothing.

Source: docs/reference/engine.md#cost
"""

import itertools
import uuid
from typing import Any

import pytest

from tests.support.factories import make_actor, make_run
from tests.support.records import run_record, step_record, task_record, wait_record, write
from workflows.engine.clock import datetime_of_ms
from workflows.ledger import command_finish, command_open
from workflows.models import Command, HumanTask, Run, RunStep, RunWait
from workflows.projections.batches import record_batch
from workflows.statuses import CommandAction, CommandState


def projection(run: Run) -> dict[str, Any]:
    run.refresh_from_db()
    return {
        "run": (run.status, run.state, run.projection_seq, run.ended_at),
        "steps": [(s.attempt, s.status, s.projection_seq) for s in RunStep.objects.filter(run=run).order_by("attempt")],
        "waits": [(w.status, w.projection_seq) for w in RunWait.objects.filter(run=run)],
    }


BATCHES = [
    [run_record(1, "RUNNING"), step_record(2, "STARTED"), wait_record(3, "WAITING")],
    [wait_record(4, "RESOLVED"), step_record(5, "SUCCEEDED"), run_record(6, "RUNNING")],
    [step_record(7, "STARTED", attempt=2), run_record(8, "SUCCEEDED")],
]


def with_own_wait(run: Run, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wait_id = str(run.id)[:-2] + "ff"
    return [{**record, "id": wait_id} if record["kind"] == "wait" else record for record in batch]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_and_repeat_of_batches_has_the_same_result(tenant: Any, order: tuple[int, ...]) -> None:
    run = make_run(tenant, status="STARTING")
    for index in (*order, order[0], order[1]):
        assert write(run, *with_own_wait(run, BATCHES[index]))
    found = projection(run)
    assert found["run"][:3] == ("SUCCEEDED", "S8", 8)
    assert found["steps"] == [(1, "SUCCEEDED", 5), (2, "STARTED", 7)]
    assert found["waits"] == [("RESOLVED", 4)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_values_of_the_opening_record_do_not_depend_on_the_order(tenant: Any, order: tuple[int, ...]) -> None:
    """A worker is killed before it opens a task. The task expires before the activity is repeated."""
    run = make_run(tenant, status="STARTING")
    wait_id = str(run.id)[:-2] + "ff"
    batches = [
        [run_record(1, "RUNNING"), wait_record(3, "WAITING", wait_id), task_record(4, "pending", wait_id)],
        [wait_record(5, "TIMED_OUT", wait_id), task_record(6, "expired", wait_id), run_record(7, "RUNNING")],
        [run_record(9, "SUCCEEDED")],
    ]
    for index in (*order, *order):
        write(run, *batches[index])
    run.refresh_from_db()
    wait, task = RunWait.objects.get(run=run), HumanTask.objects.get(run=run)
    assert (run.status, run.started_at) == ("SUCCEEDED", datetime_of_ms(run_record(1, "")["at"]))
    assert (wait.status, wait.opened_seq, wait.projection_seq) == ("TIMED_OUT", 3, 5)
    assert (task.status, task.title, task.created_at) == ("expired", "T", datetime_of_ms(task_record(4, "", "")["at"]))


def test_records_of_an_older_epoch_change_nothing(tenant: Any) -> None:
    run = make_run(tenant)
    write(run, run_record(5, "RUNNING"))
    before = projection(run)
    assert write(run, run_record(9, "SUCCEEDED"), epoch="epoch-0", current="epoch-1") is False
    assert projection(run) == before


def test_new_current_epoch_replaces_the_state_of_the_run(tenant: Any) -> None:
    run = make_run(tenant)
    write(run, run_record(9, "SUCCEEDED"))
    assert write(run, run_record(4, "RUNNING"), epoch="epoch-2", current="epoch-2") is True
    run.refresh_from_db()
    assert (run.status, run.projection_epoch, run.ended_at) == ("RUNNING", "epoch-2", None)


def test_first_records_confirm_the_start(tenant: Any) -> None:
    run = make_run(tenant, status="STARTING")
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.START_RUN, target_type="run", target_id=str(run.id)
    )
    command_finish(command, CommandState.ACCEPTED)
    write(run, run_record(1, "RUNNING"))
    run.refresh_from_db()
    command.refresh_from_db()
    assert (run.temporal_first_run_id, command.state) == ("first", "observed")


@pytest.mark.parametrize(
    ("end", "state", "code"), [("CANCELED", "observed", ""), ("SUCCEEDED", "failed", "WORKFLOW_RUN_CLOSED")]
)
def test_end_of_a_run_decides_its_cancel_command(tenant: Any, end: str, state: str, code: str) -> None:
    run = make_run(tenant)
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run
    )
    command_finish(command, CommandState.ACCEPTED)
    write(run, run_record(3, end))
    found = Command.objects.get(id=command.id)
    assert (found.state, found.code) == (state, code)


def test_observed_command_stays_observed_when_the_response_arrives(tenant: Any) -> None:
    run = make_run(tenant)
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run
    )
    write(run, run_record(3, "CANCELED"))
    command_finish(command, CommandState.ACCEPTED)
    assert (command.state, command.decided_at is not None) == ("observed", True)


def test_epoch_that_changes_during_the_request_is_requested_again(tenant: Any) -> None:
    run = make_run(tenant)
    write(run, run_record(1, "RUNNING"))
    requests: list[str] = []

    def current() -> str:
        if not requests:
            write(run, run_record(1, "WAITING"), epoch="epoch-3", current="epoch-3")
        requests.append("x")
        return "epoch-2" if len(requests) == 1 else "epoch-3"

    written = record_batch(
        [run_record(9, "SUCCEEDED")],
        tenant_id=str(tenant.id),
        run_id=str(run.id),
        epoch="epoch-2",
        first_run_id="f",
        current_epoch=current,
    )
    run.refresh_from_db()
    assert (written, len(requests), run.projection_epoch, run.status) == (False, 2, "epoch-3", "WAITING")


def test_late_records_open_no_wait_in_an_ended_run(tenant: Any) -> None:
    run = make_run(tenant)
    write(run, run_record(9, "CANCELED"))
    wait_id = str(run.id)[:-2] + "fe"
    write(
        run,
        step_record(5, "RETRY_SCHEDULED", attempt=3),
        wait_record(5, "WAITING", wait_id),
        step_record(4, "SUCCEEDED", attempt=2),
    )
    assert (projection(run)["waits"], projection(run)["steps"]) == ([], [(2, "SUCCEEDED", 4)])


def test_end_of_a_wait_can_arrive_before_its_opening(tenant: Any) -> None:
    run, wait_id = make_run(tenant, status="STARTING"), str(uuid.uuid4())
    write(run, wait_record(4, "RESOLVED", wait_id), step_record(5, "SUCCEEDED"), run_record(6, "SUCCEEDED"))
    write(run, run_record(1, "WAITING"), step_record(2, "STARTED"), wait_record(3, "WAITING", wait_id))
    assert Run.objects.get(id=run.id).status == "SUCCEEDED"
    assert RunWait.objects.get(id=wait_id).status == "RESOLVED"


def test_late_verdict_does_not_reopen_the_run(tenant: Any) -> None:
    run, wait_id = make_run(tenant, status="RUNNING"), str(uuid.uuid4())
    write(run, run_record(1, "WAITING"), step_record(2, "STARTED"), wait_record(3, "WAITING", wait_id))
    ending = (wait_record(102, "RESOLVED", wait_id), step_record(103, "SUCCEEDED"), run_record(104, "SUCCEEDED"))
    write(run, *ending, epoch="epoch-2", current="epoch-2")
    verdict = {
        "kind": "verdict",
        "seq": 101,
        "at": 1,
        "waitId": wait_id,
        "eventId": "e",
        "verdict": "filtered",
        "reason": "x",
    }
    write(run, verdict, epoch="epoch-2", current="epoch-2")
    ended = Run.objects.get(id=run.id)
    assert (ended.status, ended.ended_at is not None) == ("SUCCEEDED", True)


def test_reset_into_an_open_wait_opens_the_wait_again(tenant: Any) -> None:
    run, wait_id = make_run(tenant, status="RUNNING"), str(uuid.uuid4())
    write(run, run_record(1, "WAITING"), step_record(2, "STARTED"), wait_record(3, "WAITING", wait_id))
    write(run, wait_record(5, "RESOLVED", wait_id), step_record(6, "SUCCEEDED"), run_record(7, "SUCCEEDED"))
    verdict = {
        "kind": "verdict",
        "seq": 4,
        "at": 1,
        "waitId": wait_id,
        "eventId": "e",
        "verdict": "filtered",
        "reason": "x",
    }
    write(run, verdict, epoch="epoch-2", current="epoch-2")
    assert RunWait.objects.get(id=wait_id).status == "WAITING"
    assert Run.objects.get(id=run.id).status == "RUNNING"


def test_after_a_reset_the_same_wait_id_can_be_a_different_wait(tenant: Any) -> None:
    run, wait_id = make_run(tenant, status="RUNNING"), str(uuid.uuid4())
    write(run, wait_record(5, "WAITING", wait_id), run_record(6, "WAITING"))
    other = {
        **wait_record(5, "WAITING", wait_id),
        "eventName": "OTHER",
        "key": "k2",
        "path": "root.steps[9]",
        "stepId": "z",
    }
    write(run, other, run_record(6, "WAITING"), epoch="epoch-2", current="epoch-2")
    wait = RunWait.objects.get(id=wait_id)
    assert (wait.event_name, wait.correlation_key, wait.step_path, wait.step_id) == (
        "OTHER",
        "k2",
        "root.steps[9]",
        "z",
    )


def test_failure_after_an_action_keeps_the_output_of_the_action(tenant: Any) -> None:
    run = make_run(tenant, status="RUNNING")
    done = {
        **step_record(2, "SUCCEEDED"),
        "type": "action.call",
        "actionId": "http.request",
        "actionVersion": 1,
        "output": {"x": 1},
    }
    write(run, run_record(1, "RUNNING"), done)
    write(
        run,
        {**step_record(4, "FAILED"), "type": "action.call", "error": {"category": "ValidationError", "message": "m"}},
    )
    step = RunStep.objects.get(run=run)
    assert (step.status, step.action_id, step.action_version, step.output) == ("FAILED", "http.request", 1, {"x": 1})
