"""Checks of the fields of an event."""

from typing import Any

import pytest

from ingress.intake.envelope import read_event_envelope
from workflows.errors import InputInvalid

GOOD = {"event_type": "E", "payload": {"a": 1}}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ([], ""),
        ("x", ""),
        ({}, "event_type"),
        ({"payload": {}}, "event_type"),
        ({"event_type": "E"}, "payload"),
        ({**GOOD, "event_type": " "}, "event_type"),
        ({**GOOD, "event_type": 5}, "event_type"),
        ({**GOOD, "payload": []}, "payload"),
        ({**GOOD, "event_id": "x" * 201}, "event_id"),
        ({**GOOD, "event_id": 7}, "event_id"),
        ({**GOOD, "tenant": "other"}, "tenant"),
        ({**GOOD, "workflow_correlation_key": ["a"]}, "workflow_correlation_key"),
        ({**GOOD, "occurred_at": "yesterday"}, "occurred_at"),
        ({**GOOD, "occurred_at": "2026-01-01T00:00:00"}, "occurred_at"),
        ({**GOOD, "occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({**GOOD, "occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at"),
        ({**GOOD, "workflow_correlation_key": 10**1500}, "workflow_correlation_key"),
        ({**GOOD, "workflow_correlation_key": True}, "workflow_correlation_key"),
        ({**GOOD, "workflow_correlation_key": "\u9999" * 400}, "workflow_correlation_key"),
        ({**GOOD, "payload": {"a": "x" * 1_100_000}}, ""),
        ({**GOOD, "payload": {"a": ["x", "\x00"]}}, "/payload/a/1"),
        ({**GOOD, "payload": {"a": "\ud800"}}, "/payload/a"),
        ({**GOOD, "payload": {"\x00": 1}}, "/payload"),
    ],
)
def test_problem_names_the_invalid_field(value: Any, path: str) -> None:
    with pytest.raises(InputInvalid) as raised:
        read_event_envelope(value)
    assert raised.value.code == "EVENT_INVALID"
    assert path in [problem["path"] for problem in raised.value.details["problems"]]


def test_numeric_key_is_written_as_in_javascript() -> None:
    assert read_event_envelope({**GOOD, "workflow_correlation_key": 10**21}).workflow_correlation_key == "1e+21"


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(InputInvalid) as raised:
        read_event_envelope({"event_type": "", "payload": 1, "colour": "red"})
    assert [problem["path"] for problem in raised.value.details["problems"]] == ["colour", "event_type", "payload"]


def test_deep_nesting_is_refused() -> None:
    deep: Any = 1
    for _ in range(80):
        deep = [deep]
    with pytest.raises(InputInvalid, match="nests deeper"):
        read_event_envelope({**GOOD, "payload": {"a": deep}})


def test_body_hash_ignores_key_order_and_changes_with_every_field() -> None:
    base = read_event_envelope({"event_type": "E", "payload": {"a": 1, "b": 2}})
    assert base.body_hash() == read_event_envelope({"payload": {"b": 2, "a": 1}, "event_type": "E"}).body_hash()
    for change in (
        {"payload": {"a": 1, "b": 3}},
        {"event_type": "F"},
        {"workflow_correlation_key": "k"},
        {"payload_schema_ref": "r"},
    ):
        assert (
            base.body_hash()
            != read_event_envelope({"event_type": "E", "payload": {"a": 1, "b": 2}, **change}).body_hash()
        )
