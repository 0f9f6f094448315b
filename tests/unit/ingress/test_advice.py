"""Advice of the event page: what happened and what to do first."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ingress.explain.advice import advice_of
from ingress.explain.alike import near_misses_ordered
from workflows.event_decisions import INPUT_INVALID, MAPPING_FAILED, missing_field_text
from workflows.redaction import HIDDEN

NO_AMOUNT = missing_field_text("payloadMapping.amount", "event.payload.amount", "amount")
RECEIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def near(
    key: str, event_name: str = "REPLIED", wait_status: str | None = "WAITING", *, differs: bool = False
) -> dict[str, Any]:
    wait = {"key": key, "event_name": event_name, "wait_status": wait_status}
    return {**wait, "run_id": "r", "definition_name": "Flow", "run_differs": differs}


def explained(*near_misses: dict[str, Any], keys: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    keys = ["TCK-4417"] if keys is None else keys
    routing = {"routed_at": "now", "attempts": 1, "waits": [], "near_misses": near_misses_ordered(near_misses, keys)}
    return {
        "event_type": "REPLIED",
        "conflict_of": None,
        "outcome": {"status": "unmatched", "code": changes.pop("code", "no_wait"), "reason": "What happened."},
        "schema": None,
        "routing": {**routing, **changes.pop("routing", {})},
        "correlation": {"keys": keys},
        "received_at": RECEIVED,
        "buffer": {"is_open": False, "seconds_left": 0, "can_be_taken_by": None, **changes.pop("buffer", {})},
        "deliveries": [],
        "delivery_counts": {},
        "alike_type": "",
        **changes,
    }


def delivery(status: str, *, sent: bool = False, held: bool = False, is_paused: bool = False) -> dict[str, Any]:
    target = {"definition_name": "Flow", "definition_id": "d", "is_paused": is_paused}
    at = RECEIVED if sent else None
    return {
        "status": status, "created_at": RECEIVED, "sent_at": at, "held_since": RECEIVED if held else None,
        "target": target,
    }  # fmt: skip


def skipped(reason: str) -> dict[str, Any]:
    return {**delivery("skipped"), "reason": reason}


def taken_by(**taker: Any) -> dict[str, Any]:
    facts = {"kind": "start", "definition": "flow", "isHeld": True, "eventId": "e", "runId": None}
    return explained(
        buffer={"can_be_taken_by": {**facts, **taker}},
        outcome={"status": "buffer_over", "code": "no_wait", "reason": "What happened."},
    )


SCHEMA = {"ref": "payload.Reply.v2", "code": None, "problems": [{"pointer": "/amount", "message": "must be a number"}]}


ALMOST = {"key": "TCK-4471", "replaces": "TCK-4417"}


@pytest.mark.parametrize(
    ("trace", "to_do", "action", "fields"),
    [
        (explained(code="id_conflict"), "new id", "send", {}),
        (explained(code="payload_rejected", schema=SCHEMA), "at /amount: must be a number", "send", {}),
        (
            explained(code="payload_rejected", schema={**SCHEMA, "code": "X"}),
            "the right schema, or with none",
            "send",
            {},
        ),
        (explained(code="not_routed", received_at=RECEIVED + timedelta(minutes=2)), "Wait", "", {}),
        (
            explained(code="not_routed"),
            "the Celery workers, because the event has not been routed for 2 min",
            "",
            {},
        ),
        (explained(code="routing_failed"), "tries again", "", {}),
        (explained(code="dead"), "redeliver", "redeliver", {}),
        (explained(code="partly_dead"), "redeliver", "redeliver", {}),
        (explained(code="delivering", deliveries=[delivery("pending")]), "Temporal and the Celery workers", "", {}),
        (explained(code="delivering", deliveries=[delivery("sent", sent=True)]), "the Temporal workers", "", {}),
        (explained(code="held", deliveries=[delivery("pending", held=True)]), "no longer applies", "", {}),
        (
            explained(code="held", deliveries=[delivery("pending", held=True, is_paused=True)]),
            "An author must resume Flow",
            "",
            {},
        ),
        (taken_by(), "Resume flow, or wait for a free slot", "", {}),
        (taken_by(isHeld=False, runId="r"), "it finds the event", "", {}),
        (taken_by(kind="wait", runId="r"), "shows the decision", "", {}),
        (explained(outcome={"status": "buffer_over", "code": "no_wait", "reason": "What happened."}), "Wait", "", {}),
        (explained(code="matched", delivery_counts={"matched": 1, "late": 1}), "Nothing", "", {}),
        (explained(code="matched", delivery_counts={"matched": 1, "sent": 1}), "Another delivery", "", {}),
        (explained(code="started"), "Nothing", "", {}),
        (explained(code="filtered"), "Compare the payload", "send", {}),
        (explained(code="not_started"), "Read the reason", "", {}),
        (
            explained(code="not_started", deliveries=[skipped("the definition flow is archived")]),
            "Read the reason",
            "",
            {},
        ),
        (
            explained(code="not_started", deliveries=[skipped(f"{MAPPING_FAILED}: {NO_AMOUNT}")]),
            "with amount, or ask an author to set a default",
            "send",
            {},
        ),
        (explained(code="not_started", deliveries=[skipped(f"{INPUT_INVALID} a: b")]), "correct the", "send", {}),
        (explained(code="discarded"), "Nothing", "", {}),
        (explained(near("TCK-4471")), "almost the same (two digits are swapped)", "send", ALMOST),
        (explained(near("X-9"), near("tck-4417")), "tck-4417", "send", {"key": "tck-4417", "replaces": "TCK-4417"}),
        (explained(near("TCK-4417", "REOPENED")), "as REOPENED", "send", {"event_type": "REOPENED"}),
        (
            explained(near("TCK-4417", wait_status="RESOLVED"), near("TCK-4471"), code="wait_closed"),
            "still needed",  # the key was right, so another key belongs to another case
            "",
            {},
        ),
        (explained(near("TCK-4417", wait_status="RESOLVED"), code="wait_closed"), "still needed", "", {}),
        (
            explained(code="wait_closed", routing={"waits": [near("TCK-4417"), near("TCK-4417", differs=True)]}),
            "compare it with Temporal",
            "",
            {},
        ),
        (
            explained(near("TCK-4418"), near("TCK-4416"), near("TCK-4415", differs=True)),
            "Open runs wait for this event with 2 keys that are equally alike: TCK-4416, TCK-4418.",
            "send",
            {},
        ),
        (
            explained(near("TCK-4418"), near("TCK-4418")),
            "with the key TCK-4418",
            "send",
            {"key": "TCK-4418", "replaces": "TCK-4417"},
        ),
        (explained(near("TCK-4471", wait_status="RESOLVED")), "with the sender", "what_if", {}),
        (explained(near("TCK-4471", differs=True)), "with the sender", "what_if", {}),
        (explained(near(HIDDEN)), "with the sender", "what_if", {}),
        (explained(near("TCK-4471"), keys=[HIDDEN]), "with the sender", "what_if", {}),
        (explained(keys=[], code="no_key"), "event catalogue", "send", {}),
        (
            explained(keys=[], code="no_key", alike_type="REPLIES"),
            "again as REPLIES",
            "send",
            {"event_type": "REPLIES"},
        ),
        (explained(near("TCK-4471"), alike_type="REPLIES"), "almost the same", "send", ALMOST),
        (explained(buffer={"is_open": True, "seconds_left": 30}), "within 30 s", "", {}),
    ],
)
def test_advice(trace: dict[str, Any], to_do: str, action: str, fields: dict[str, str]) -> None:
    advice = advice_of(trace, now=RECEIVED + timedelta(minutes=2))
    assert advice.heading == "What happened."
    assert to_do in advice.to_do
    assert (advice.action, advice.fields) == (action, fields)
    assert bool(advice.label) == bool(action)


def test_advice_names_the_run_with_the_name_of_its_definition() -> None:
    advice = advice_of(explained(near("TCK-4471")), now=RECEIVED)
    assert (advice.run_id, advice.run_name) == ("r", "Flow TCK-4471")


def test_near_misses_are_alike_and_ordered_by_the_keys_that_the_reader_sees() -> None:
    given = [near("SMS-1"), near(HIDDEN), near("TCK-4471"), near("tck-4417"), near("TCK-4417", "REOPENED")]
    ordered = near_misses_ordered(given, ["TCK-4417"])
    assert [(row["key"], row["likeness"]) for row in ordered] == [
        ("TCK-4417", "The key is the same"),
        ("tck-4417", "Only upper and lower case differ"),
        ("TCK-4471", "Two digits are swapped"),
        (HIDDEN, None),
    ]
    assert near_misses_ordered(given, []) == []
    assert [row["likeness"] for row in near_misses_ordered(given, [HIDDEN])] == [None] * 5


def test_open_waits_come_before_closed_ones_with_keys_that_are_as_much_alike() -> None:
    given = [near("TCK-4418", wait_status="RESOLVED"), near("TCK-4416"), near("TCK-4471", wait_status="CANCELED")]
    ordered = near_misses_ordered(given, ["TCK-4417"])
    assert [(found["key"], found["wait_status"]) for found in ordered] == [
        ("TCK-4471", "CANCELED"), ("TCK-4416", "WAITING"), ("TCK-4418", "RESOLVED"),
    ]  # fmt: skip
