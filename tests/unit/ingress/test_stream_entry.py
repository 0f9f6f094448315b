"""Conversion of stream entries to events, and the problems of invalid entries."""

import json
from typing import Any

import pytest

from ingress.intake.envelope import read_event_envelope
from ingress.stream.entry import StreamEvent, event_of_entry
from workflows.errors import InputInvalid, NotFound

GOOD = {"event_type": "E", "tenant": "demo", "payload_json": '{"a": 1}'}


def read(fields: Any) -> StreamEvent:
    pairs = fields.items() if isinstance(fields, dict) else fields
    raw = [tuple(word if isinstance(word, bytes) else word.encode() for word in pair) for pair in pairs]
    return event_of_entry(stream="events", entry_id="7-0", fields=raw)


def test_all_fields_are_converted() -> None:
    event = read(
        {
            **GOOD, "event_id": "e-1", "workflow_correlation_key": "K", "payload_schema_ref": "s.v1",
            "timestamp": "2026-01-01T10:00:00+02:00", "payload_json": '{"zz": 1.0, "a": [null, "ü"]}',
        }
    )  # fmt: skip
    assert event.tenant == "demo"
    assert event.value == {
        "event_type": "E", "event_id": "e-1", "workflow_correlation_key": "K", "payload_schema_ref": "s.v1",
        "occurred_at": "2026-01-01T10:00:00+02:00", "payload": {"zz": 1.0, "a": [None, "ü"]},
    }  # fmt: skip
    assert list(event.value["payload"]) == ["zz", "a"]
    assert read_event_envelope(event.value).event_id == "e-1"


def test_entry_without_event_id_gets_one_from_its_place_in_the_stream() -> None:
    assert read(GOOD).value["event_id"] == read({**GOOD, "event_id": ""}).value["event_id"] == "stream:events:7-0"


def test_empty_optional_fields_count_as_not_sent() -> None:
    empty = dict.fromkeys(("event_id", "workflow_correlation_key", "payload_schema_ref", "timestamp"), "")
    assert read({**GOOD, **empty}) == read(GOOD)


def test_timestamp_can_be_milliseconds() -> None:
    occurred_at = read_event_envelope(read({**GOOD, "timestamp": "1767261600123"}).value).occurred_at
    assert occurred_at is not None
    assert occurred_at.isoformat() == "2026-01-01T10:00:00.123000+00:00"


@pytest.mark.parametrize(
    ("wrong", "path", "words"),
    [
        ({"colour": "red"}, "colour", "is not a known field"),
        ({b"\xff": "x"}, "\\xff", "is not a known field"),
        ({"payload_json": "{"}, "payload_json", "is not JSON"),
        ({"payload_json": '{"a": NaN}'}, "payload_json", "NaN is not a JSON number"),
        ({"payload_json": "[" * 100_000}, "payload_json", "is nested too deeply"),
        ({"payload_json": json.dumps("x" * 1_100_000)}, "payload_json", "has more than 1048576 bytes"),
        ({"payload_json": b'{"a": "\xff"}'}, "payload_json", "is not UTF-8"),
        ({"payload_json": '{"a": [1e400]}'}, "payload_json/a/0", "is outside the range of a double"),
        ({"payload_json": '{"a": 1, "a": 1}'}, "payload_json", "has the key 'a' twice"),
        ({"payload_json": '{"a": ' + "9" * 1001 + "}"}, "payload_json/a", "has more than 1,000 digits"),
        ({"timestamp": "yesterday"}, "timestamp", "must be an ISO 8601 time"),
        ({"timestamp": "2026-01-01T10:00:00"}, "timestamp", "must be an ISO 8601 time"),
        ({"timestamp": "2026-13-01T10:00:00Z"}, "timestamp", "must be an ISO 8601 time"),
        ({"timestamp": "1767261600"}, "timestamp", "looks like seconds"),
        ({"timestamp": "999999999999999"}, "timestamp", "must be an ISO 8601 time"),
    ],
)
def test_problem_names_the_invalid_field(wrong: dict[Any, Any], path: str, words: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        read({**GOOD, **wrong})
    assert raised.value.code == "EVENT_INVALID"
    (problem,) = raised.value.details["problems"]
    assert problem["path"] == path
    assert words in problem["message"]
    assert words in raised.value.message


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(InputInvalid) as raised:
        read([("tenant", "demo"), ("tenant", "other"), ("event_typ", "E"), ("timestamp", "x")])
    reported = {(problem["path"], problem["message"].split(";")[0]) for problem in raised.value.details["problems"]}
    assert {
        ("tenant", "occurs twice"), ("event_typ", "is not a known field"), ("event_type", "is missing"),
        ("payload_json", "is missing"),
    } < reported  # fmt: skip


@pytest.mark.parametrize("slug", ["", " ", "a b", "a\x00b", "x" * 64, "ü"])
def test_invalid_slug_is_refused_before_the_database(slug: str) -> None:
    with pytest.raises(NotFound) as raised:
        read({**GOOD, "tenant": slug})
    assert raised.value.code == "TENANT_NOT_FOUND"
