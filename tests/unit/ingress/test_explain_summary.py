"""An event's decision trace in plain sentences (docs/reference/events.md#decision-trace)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingress.explain.summary import span, summary_of

NOW = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
RUN, OTHER = "0192f0c4-0000-7000-8000-000000000001", "0192f0c4-0000-7000-8000-000000000002"


def explained(**changes: Any) -> dict[str, Any]:
    routing = {"routed_at": NOW, "next_at": None, "attempts": 1, "waits": [], "triggers": [], "near_misses": []}
    return {
        "event_id": "e-1",
        "event_type": "REPLIED",
        "outcome": {"status": "unmatched", "reason": ""},
        "correlation": {"status": "derived", "reason": "", "keys": ["T-1"], "tried": []},
        "schema": None,
        "buffer": {"seconds": None, "until": None, "seconds_left": 0, "is_open": False},
        "deliveries": [],
        "delivery_counts": {},
        "conflict_of": None,
        **changes,
        "routing": {**routing, **changes.get("routing", {})},
    }


def delivery(status: str, run: str | None = RUN, **changes: Any) -> dict[str, Any]:
    target = {"run_id": run, "definition": "flow", "version": 2}
    row = {"status": status, "target": target, "reason": None, "attempts": 0, "is_under_way": False}
    return {**row, "held_since": None, "next_attempt_at": None, **changes}


def near(key: str, name: str = "REPLIED", why: str = "") -> dict[str, Any]:
    return {"run_id": OTHER, "definition": "flow", "event_name": name, "key": key, "why": why}


def told(**changes: Any) -> str:
    return summary_of(explained(**changes), now=NOW)


def test_nobody_waited_somebody_nearly_did_and_somebody_still_may() -> None:
    buffer = {"seconds": 60, "until": NOW + timedelta(seconds=33.2), "seconds_left": 33.2, "is_open": True}
    assert told(routing={"near_misses": [near("T-2")]}, buffer=buffer) == (
        "The event carries the key T-1. No run waited for REPLIED with that key, and no published definition is started "
        f"by it. Run {OTHER} of flow waits for it under T-2. A wait that opens within 34 s still finds it."
    )


def test_a_buffer_that_is_over_is_told_as_such() -> None:
    buffer = {"seconds": 60, "until": NOW - timedelta(seconds=1), "seconds_left": 0, "is_open": False}
    assert told(buffer=buffer).endswith("A wait that had opened by 2026-01-01 09:59:59 UTC would have found it.")


@pytest.mark.parametrize(
    ("miss", "sentence"),
    [
        (near("T-1", "CLOSED"), f"Run {OTHER} of flow waits under this key, and for CLOSED."),
        (near("T-1", why="it has closed: resolved"), f"Run {OTHER} of flow waited for it: it has closed: resolved."),
    ],
)
def test_near_misses_say_what_differs(miss: dict[str, Any], sentence: str) -> None:
    assert told(routing={"near_misses": [miss]}).endswith(sentence)


def test_an_event_without_a_key_says_why() -> None:
    correlation = {"status": "missing", "reason": "no key was sent", "keys": [], "tried": []}
    assert told(correlation=correlation) == (
        "The event carries no key: no key was sent. So it can reach no run that waits, and no published definition is "
        "started by it."
    )


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (delivery("matched"), f"Run {RUN} of flow took it."),
        (delivery("started"), f"It started run {RUN} of flow."),
        (delivery("filtered"), f"Run {RUN} of flow waited for it and did not take it."),
        (delivery("filtered", reason="no"), f"Run {RUN} of flow waited for it and did not take it (no)."),
        (delivery("late", reason="it ended"), f"It came too late for run {RUN} of flow (it ended)."),
        (delivery("skipped", None, reason="paused"), "It did not start flow@2 (paused)."),
        (delivery("dead", reason="no"), f"Every attempt to reach run {RUN} of flow failed (no); it is in the dead letters."),
        (delivery("discarded"), f"The delivery to run {RUN} of flow will not be made."),
        (delivery("sent"), f"Temporal has the signal for run {RUN} of flow, and the workflow has not answered yet."),
        (delivery("pending"), f"It is about to be handed to run {RUN} of flow."),
        (delivery("pending", is_under_way=True), f"An attempt to reach run {RUN} of flow is under way."),
        (delivery("pending", attempts=2, next_attempt_at=NOW + timedelta(seconds=9)),
         f"The last attempt to reach run {RUN} of flow failed; the next is due in 9 s."),
        (delivery("pending", None, attempts=2, held_since=NOW),
         "The definition flow@2 has as many open runs as it may have; the event waits for its turn."),
    ],
    ids=lambda value: value["status"] if isinstance(value, dict) else None,
)  # fmt: skip
def test_each_delivery_is_a_sentence(row: dict[str, Any], sentence: str) -> None:
    assert told(deliveries=[row]) == f"The event carries the key T-1. {sentence}"


def test_many_targets_are_counted() -> None:
    rows = [delivery("matched", f"run-{number}") for number in range(5)]
    assert "Run run-0 of flow, run run-1 of flow, run run-2 of flow and 2 more took it." in told(deliveries=rows)


def test_what_was_reached_is_told_before_what_was_not() -> None:
    sentences = told(deliveries=[delivery("filtered"), delivery("dead", OTHER), delivery("matched")])
    assert sentences.index("took it") < sentences.index("dead letters") < sentences.index("did not take it")


def test_an_event_that_is_not_routed_yet() -> None:
    assert "no worker is running" in told(routing={"routed_at": None, "attempts": 0})
    failed = told(routing={"routed_at": None, "attempts": 2, "next_at": NOW + timedelta(minutes=2)})
    assert failed.endswith("Routing it failed 2 times and is tried again in 2 min.")


def test_rejected_events_say_what_the_sender_must_do() -> None:
    schema = {"ref": "payload.Paid.v1", "problems": [{"pointer": "/amount", "message": "is no number"}]}
    rejected = {"status": "rejected", "reason": ""}
    assert told(outcome=rejected, schema=schema).endswith(
        "Its payload does not fit payload.Paid.v1 at /amount: is no number, so it reaches no run; its sender must correct it."
    )
    hidden = {**schema, "problems": [{"pointer": "/amount"}]}
    assert "at /amount, so" in told(outcome=rejected, schema=hidden)
    conflict = told(outcome=rejected, conflict_of={"id": 1, "received_at": NOW})
    assert "Its id e-1 belongs to another body that came at 2026-01-01 10:00:00 UTC" in conflict


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (61.5, "1 min 2 s")])
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_targets_that_are_not_told_one_by_one_are_counted() -> None:
    rows = [delivery("matched", run=f"r{number}") for number in range(50)]
    text = told(deliveries=[*rows, delivery("dead")], delivery_counts={"matched": 5_000, "dead": 1})
    assert "Run r0 of flow, run r1 of flow, run r2 of flow and 4,997 more took it." in text
    assert f"Every attempt to reach run {RUN} of flow failed" in text


def test_a_near_miss_whose_key_may_not_be_told() -> None:
    text = told(routing={"near_misses": [near("[redacted]", why="it waits for this event under [redacted]")]})
    assert f"Run {OTHER} of flow was near: it waits for this event under [redacted]." in text
