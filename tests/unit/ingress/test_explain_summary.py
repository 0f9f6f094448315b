"""Summaries of decision traces (docs/reference/events.md#decision-trace)."""

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
        "outcome": {"status": "unmatched", "reason": "What happened."},
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


def near(key: str, name: str = "REPLIED", why: str = "", wait_status: str = "WAITING") -> dict[str, Any]:
    names = {"run_id": OTHER, "definition": "flow", "event_name": name, "key": key}
    return {**names, "why": why, "wait_status": wait_status}


def summary(**changes: Any) -> str:
    return summary_of(explained(**changes), now=NOW)


def test_event_without_target_has_a_near_miss_and_an_open_buffer() -> None:
    buffer = {"seconds": 60, "until": NOW + timedelta(seconds=33.2), "seconds_left": 33.2, "is_open": True}
    assert summary(routing={"near_misses": [near("T-2")]}, buffer=buffer) == (
        "What happened. The event has the correlation key T-1. "
        f"Near miss: run {OTHER} of flow waits for this event with the key T-2. "
        "A wait that opens within 34 s still finds the event."
    )


def test_summary_names_the_end_of_an_expired_buffer_time() -> None:
    buffer = {"seconds": 60, "until": NOW - timedelta(seconds=1), "seconds_left": 0, "is_open": False}
    assert summary(buffer=buffer).endswith(
        "A wait that had opened before 2026-01-01 09:59:59 UTC would have found the event."
    )


@pytest.mark.parametrize(
    ("miss", "sentence"),
    [
        (near("T-1", "CLOSED"), f"Near miss: run {OTHER} of flow waits with this key, but for CLOSED."),
        (
            near("T-2", wait_status="CANCELED"),
            f"Near miss: run {OTHER} of flow waited for this event with the key T-2.",
        ),
        (
            near("T-1", why="the wait had closed: resolved"),
            f"Near miss: run {OTHER} of flow waited for this event with this key (the wait had closed: resolved).",
        ),
    ],
)
def test_near_miss_sentence_names_the_difference(miss: dict[str, Any], sentence: str) -> None:
    assert summary(routing={"near_misses": [miss]}).endswith(sentence)


def test_summary_explains_a_missing_key() -> None:
    correlation = {"status": "missing", "reason": "no key was sent", "keys": [], "tried": []}
    assert summary(correlation=correlation) == ("What happened. The event has no correlation key: no key was sent.")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (delivery("matched"), f"Run {RUN} of flow took the event."),
        (delivery("started"), f"The event started run {RUN} of flow."),
        (delivery("filtered"), f"Run {RUN} of flow waited for the event but did not take it."),
        (delivery("filtered", reason="no"), f"Run {RUN} of flow waited for the event but did not take it (no)."),
        (delivery("late", reason="it ended"), f"Run {RUN} of flow could not take the event (it ended)."),
        (delivery("skipped", None, reason="paused"), "The event did not start flow@2 (paused)."),
        (
            delivery("dead", reason="no"),
            f"All attempts to deliver the event to run {RUN} of flow failed (no). "
            "Redeliver or discard it in the dead-letter inbox.",
        ),
        (delivery("discarded"), f"The delivery to run {RUN} of flow was discarded."),
        (
            delivery("sent"),
            f"Temporal accepted the signal for run {RUN} of flow. The workflow has not decided about the event yet.",
        ),
        (delivery("pending"), f"The first attempt to deliver the event to run {RUN} of flow is due."),
        (
            delivery("pending", is_under_way=True),
            f"An attempt to deliver the event to run {RUN} of flow is in progress.",
        ),
        (
            delivery("pending", attempts=2, next_attempt_at=NOW + timedelta(seconds=9)),
            f"The last attempt to deliver the event to run {RUN} of flow failed. The next attempt is due in 9 s.",
        ),
        (
            delivery("pending", None, attempts=2, held_since=NOW, reason="flow is paused: a holiday"),
            "The start of flow@2 is on hold (flow is paused: a holiday).",
        ),
        (
            delivery("pending", None, attempts=2, held_since=NOW),
            "The start of flow@2 is on hold.",
        ),
    ],
    ids=lambda value: value["status"] if isinstance(value, dict) else "",
)
def test_each_delivery_status_has_a_sentence(row: dict[str, Any], sentence: str) -> None:
    assert summary(deliveries=[row]) == f"What happened. The event has the correlation key T-1. {sentence}"


def test_only_three_targets_are_named() -> None:
    rows = [delivery("matched", f"run-{number}") for number in range(5)]
    assert "Run run-0 of flow, run run-1 of flow, run run-2 of flow and 2 more took the event." in summary(
        deliveries=rows
    )


def test_reached_targets_come_first() -> None:
    sentences = summary(deliveries=[delivery("filtered"), delivery("dead", OTHER), delivery("matched")])
    assert sentences.index("took the event") < sentences.index("dead-letter") < sentences.index("did not take it")


def test_summary_of_an_unrouted_event() -> None:
    assert "check the Celery workers" in summary(routing={"routed_at": None, "attempts": 0})
    failed = summary(routing={"routed_at": None, "attempts": 2, "next_at": NOW + timedelta(minutes=2)})
    assert failed.endswith("Routing failed 2 times. The next attempt is due in 2 min.")


def test_summary_of_a_rejected_event_names_the_problem_and_the_remedy() -> None:
    schema = {"ref": "payload.Paid.v1", "problems": [{"pointer": "/amount", "message": "is no number"}]}
    rejected = {"status": "rejected", "reason": ""}
    assert summary(outcome=rejected, schema=schema).endswith(
        "The sender must correct the payload at /amount: is no number."
    )
    hidden = {**schema, "problems": [{"pointer": "/amount"}]}
    assert "the payload at /amount." in summary(outcome=rejected, schema=hidden)
    conflict = summary(outcome=rejected, conflict_of={"id": 1, "received_at": NOW})
    assert "The event to which the id e-1 belongs was received at 2026-01-01 10:00:00 UTC." in conflict


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (61.5, "1 min 2 s")])
def test_span_rounds_up_to_seconds(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_targets_beyond_the_shown_rows_are_counted() -> None:
    rows = [delivery("matched", run=f"r{number}") for number in range(50)]
    text = summary(deliveries=[*rows, delivery("dead")], delivery_counts={"matched": 5_000, "dead": 1})
    assert "Run r0 of flow, run r1 of flow, run r2 of flow and 4,997 more took the event." in text
    assert f"All attempts to deliver the event to run {RUN} of flow failed" in text


def test_near_miss_with_a_redacted_key_shows_the_reason_only() -> None:
    text = summary(routing={"near_misses": [near("[redacted]", why="the wait has another key")]})
    assert f"Near miss: run {OTHER} of flow (the wait has another key)." in text
