"""Acceptance time decides, whatever was delayed (docs/reference/engine.md#event-waits)."""

from typing import Any

from tests.support.factories import wait_for_reply
from tests.unit.engine.driver import START_MS, Drive
from workflows.engine import commands as cmd
from workflows.engine.events import EventSignalled, RunStarted

TIMEOUT_MS = 60_000


def waiting(**config: Any) -> Drive:
    return Drive(wait_for_reply(timeoutMs=TIMEOUT_MS, **config), payload={"ticketId": "T-1"}).start()


def signal_accepted_at(run: Drive, accepted_ms: int, event_id: str = "e1") -> None:
    wait_id = run.last(cmd.OpenWait).wait_id
    run.feed(
        EventSignalled(run.now_ms, event_id, "TICKET_CUSTOMER_REPLIED", "T-1", wait_id, {}, accepted_ms=accepted_ms)
    )


def last_wait(run: Drive) -> dict[str, Any]:
    return [record for record in run.records if record["kind"] == "wait"][-1]


def test_event_accepted_before_the_deadline_wins_over_the_timer() -> None:
    run = waiting()
    run.later(TIMEOUT_MS + 5_000)
    commands = run.feed_timer()
    assert [type(command) for command in commands] == [cmd.SearchEvents]
    assert commands[0].until_ms == START_MS + TIMEOUT_MS + 1_000  # the tolerance between two clocks
    run.searched(is_event_left=True)
    assert run.last(cmd.StartTimer).due_ms == run.now_ms + 1_000
    signal_accepted_at(run, START_MS + TIMEOUT_MS - 1)
    assert run.verdicts() == [("e1", "matched")]
    assert run.end.status == "SUCCEEDED"


def test_search_is_repeated_until_no_event_is_left() -> None:
    run = waiting()
    run.later(TIMEOUT_MS)
    run.feed_timer()
    pauses = []
    for _ in range(7):
        run.searched(is_event_left=True)
        pauses.append(run.last(cmd.StartTimer).due_ms - run.now_ms)
        run.later(pauses[-1])
        run.feed_timer()
    assert pauses == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    run.searched(is_event_left=False)
    assert (run.end.status, run.end.error["code"]) == ("FAILED", "EVENT_WAIT_TIMEOUT")


def test_event_accepted_after_the_deadline_is_late_and_the_wait_times_out() -> None:
    run = waiting()
    run.later(TIMEOUT_MS + 5_000)
    signal_accepted_at(run, START_MS + TIMEOUT_MS + 1_001)  # the worker was down over both: the signal comes first
    assert run.verdicts() == [("e1", "late")]
    run.fire()
    assert run.end.error["code"] == "EVENT_WAIT_TIMEOUT"


def test_result_of_a_search_for_a_closed_wait_changes_nothing() -> None:
    run = waiting()
    run.later(TIMEOUT_MS)
    run.feed_timer()
    signal_accepted_at(run, START_MS)
    ended = len(run.commands)
    run.searched(is_event_left=False)
    assert len(run.commands) == ended


def test_logical_time_follows_acceptance_and_not_delays() -> None:
    second = {**wait_for_reply(timeoutMs=TIMEOUT_MS), "id": "second"}
    run = Drive(wait_for_reply(timeoutMs=TIMEOUT_MS), second, payload={"ticketId": "T-1"})
    run.later(75_000)  # the worker was down
    run.feed(RunStarted(run.now_ms, accepted_ms=START_MS))
    assert (last_wait(run)["readyAt"], last_wait(run)["openedAt"]) == (START_MS, START_MS + 75_000)
    run.later(30_000)
    signal_accepted_at(run, START_MS + 3_000)
    assert last_wait(run)["stepId"] == "second"
    assert last_wait(run)["readyAt"] == START_MS + 3_000


def test_runs_of_semantics_1_time_out_at_once() -> None:
    run = Drive(wait_for_reply(timeoutMs=TIMEOUT_MS), payload={"ticketId": "T-1"}, semantics=1).start()
    run.later(TIMEOUT_MS)
    run.fire()
    assert not run.has(cmd.SearchEvents)
    assert "readyAt" not in last_wait(run)
    assert run.end.error["code"] == "EVENT_WAIT_TIMEOUT"
