"""Advice of the event page: what happened and what to do first."""

from typing import Any

import pytest

from ingress.explain.advice import advice_of
from ingress.explain.alike import near_misses_ordered
from workflows.redaction import HIDDEN


def near(key: str, event_name: str = "REPLIED", wait_status: str | None = "WAITING") -> dict[str, Any]:
    return {"key": key, "event_name": event_name, "wait_status": wait_status, "run_id": "r", "definition": "flow"}


def explained(*near_misses: dict[str, Any], keys: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    keys = ["TCK-4417"] if keys is None else keys
    routing = {"routed_at": "now", "attempts": 1, "near_misses": near_misses_ordered(near_misses, keys)}
    return {
        "event_type": "REPLIED",
        "conflict_of": None,
        "outcome": {"status": "unmatched"},
        "schema": None,
        "routing": {**routing, **changes.pop("routing", {})},
        "correlation": {"keys": keys},
        "buffer": {"is_open": False, "seconds_left": 0},
        "deliveries": [],
        "delivery_counts": {},
        **changes,
    }


SCHEMA = {"ref": "payload.Reply.v2", "code": None, "problems": [{"pointer": "/amount", "message": "must be a number"}]}


@pytest.mark.parametrize(
    ("trace", "heading", "to_do", "action", "fields"),
    [
        (explained(conflict_of={"id": "1"}), "another body", "new id", "send", {}),
        (
            explained(outcome={"status": "rejected"}, schema=SCHEMA),
            "does not match the schema payload.Reply.v2",
            "at /amount: must be a number",
            "send",
            {},
        ),
        (
            explained(outcome={"status": "rejected"}, schema={**SCHEMA, "code": "X"}),
            "another schema",
            "none",
            "send",
            {},
        ),
        (explained(routing={"routed_at": None, "attempts": 0}), "not routed yet", "broker and workers", "", {}),
        (explained(routing={"routed_at": None, "attempts": 2}), "routing of this event failed", "tries again", "", {}),
        (
            explained(delivery_counts={"dead": 1, "matched": 3}),
            "deliver the event failed",
            "redeliver",
            "redeliver",
            {},
        ),
        (explained(delivery_counts={"dead": 12}), "to 12 targets", "redeliver", "redeliver", {}),
        (explained(delivery_counts={"pending": 1}), "being delivered", "by itself", "", {}),
        (
            explained(delivery_counts={"pending": 1}, deliveries=[{"held_since": "now"}]),
            "is on hold",
            "a slot is free",
            "",
            {},
        ),
        (explained(delivery_counts={"matched": 1, "late": 1}), "A run took", "Nothing", "", {}),
        (explained(delivery_counts={"started": 1}), "started a run", "Nothing", "", {}),
        (explained(delivery_counts={"filtered": 1}), "filter of the wait", "Compare the payload", "send", {}),
        (explained(delivery_counts={"late": 1}), "too late", "still needed", "", {}),
        (explained(delivery_counts={"skipped": 1}), "did not start", "reason below", "", {}),
        (explained(delivery_counts={"discarded": 1}), "discarded", "Nothing", "", {}),
        (
            explained(near("TCK-4471")),
            "almost the same key",
            "key TCK-4471",
            "send",
            {"key": "TCK-4471", "replaces": "TCK-4417"},
        ),
        (
            explained(near("X-9"), near("tck-4417")),
            "almost the same",
            "tck-4417",
            "send",
            {"key": "tck-4417", "replaces": "TCK-4417"},
        ),
        (
            explained(near("TCK-4417", "REOPENED")),
            "another event type",
            "as REOPENED",
            "send",
            {"event_type": "REOPENED"},
        ),
        (
            explained(near("TCK-4417", wait_status="RESOLVED"), near("TCK-4471")),
            "had closed",
            "(two digits are swapped)",
            "send",
            {"key": "TCK-4471", "replaces": "TCK-4417"},
        ),
        (explained(near("TCK-4417", wait_status="RESOLVED")), "had closed", "still needed", "", {}),
        (explained(near("TCK-4471", wait_status="RESOLVED")), "starts no definition", "with the sender", "what_if", {}),
        (explained(near(HIDDEN)), "starts no definition", "with the sender", "what_if", {}),
        (explained(near("TCK-4471"), keys=[HIDDEN]), "starts no definition", "with the sender", "what_if", {}),
        (explained(keys=[]), "no correlation key", "event catalogue", "send", {}),
        (explained(buffer={"is_open": True, "seconds_left": 30}), "waits for this event yet", "within 30 s", "", {}),
    ],
)
def test_advice(trace: dict[str, Any], heading: str, to_do: str, action: str, fields: dict[str, str]) -> None:
    advice = advice_of(trace)
    assert heading in advice.heading
    assert to_do in advice.to_do
    assert (advice.action, advice.fields) == (action, fields)
    assert bool(advice.label) == bool(action)


def test_near_misses_are_ordered_by_the_keys_that_the_reader_sees() -> None:
    ordered = near_misses_ordered([near("X-1"), near(HIDDEN), near("TCK-4471"), near("tck-4417")], ["TCK-4417"])
    assert [row["key"] for row in ordered] == ["tck-4417", "TCK-4471", "X-1", HIDDEN]
    assert [row["likeness"] for row in ordered] == [
        "Only upper and lower case differ",
        "Two digits are swapped",
        "Another key",
        None,
    ]
