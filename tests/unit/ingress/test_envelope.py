"""Checks of the fields of an event."""

from typing import Any

import pytest

from ingress.intake.envelope import read_event_envelope
from ingress.intake.identity import WHOLE_PAYLOAD, IdentityRule
from workflows.errors import InputInvalid
from workflows.strict_json import read_json

GOOD = {"event_type": "E", "payload": {"a": 1}}
LATER = "2026-01-02T10:00:00Z"


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
        ({**GOOD, "occurred_at": "2026-W01-1T00:00:00Z"}, "occurred_at"),
        ({**GOOD, "occurred_at": "2026W011T000000Z"}, "occurred_at"),
        ({**GOOD, "occurred_at": "2026-01-01T12:30:60Z"}, "occurred_at"),
        ({**GOOD, "occurred_at": "2016-12-31T23:59:61Z"}, "occurred_at"),
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
    for number, text in ((1e21, "1e+21"), (10**21, "1000000000000000000000"), (7.0, "7")):
        assert read_event_envelope({**GOOD, "workflow_correlation_key": number}).workflow_correlation_key == text


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


@pytest.mark.parametrize(
    "number", [float("inf"), float("nan"), 10**1000, -(10**1000)], ids=["inf", "nan", "long", "negative"]
)
def test_number_that_cannot_be_kept_is_refused_with_its_path(number: Any) -> None:
    with pytest.raises(InputInvalid) as raised:
        read_event_envelope({**GOOD, "payload": {"a": [1, number]}})
    assert [problem["path"] for problem in raised.value.details["problems"]] == ["/payload/a/1"]


def test_size_counts_the_digits_that_were_sent(settings: Any) -> None:
    settings.REQUEST_MAX_BYTES = 1000
    with pytest.raises(InputInvalid, match="more than 1000 bytes"):
        read_event_envelope({**GOOD, "payload": read_json('{"a": 0.' + "1" * 1000 + "}")})


def test_body_hash_ignores_what_senders_change_on_a_retry() -> None:
    base = read_event_envelope({**GOOD, "payload": {"a": 10, "b": [0.5]}})
    again = read_event_envelope({**GOOD, "payload": read_json('{"b": [50e-2], "a": 1e1}'), "occurred_at": LATER})
    assert base.body_hash() == again.body_hash()


@pytest.mark.parametrize(
    ("rule", "payload", "equal"),
    [
        (IdentityRule(fields=("id",)), {"id": 1, "sentAt": "later"}, True),
        (IdentityRule(fields=("id",)), {"id": 2, "sentAt": "now"}, False),
        (IdentityRule(fields=("id", "missing")), {"id": 1}, True),
        (IdentityRule(fields=("meta.trace",)), {"id": 2, "meta": {"trace": "t"}}, True),
        (IdentityRule(excluded=("sentAt",)), {"id": 1, "sentAt": "later", "meta": {"trace": "t", "n": 1}}, True),
        (IdentityRule(excluded=("sentAt",)), {"id": 1, "meta": {"trace": "t", "n": 1}}, True),
        (IdentityRule(excluded=("sentAt",)), {"id": 1, "sentAt": "later", "meta": {}}, False),
        (
            IdentityRule(excluded=("sentAt", "meta.trace")),
            {"id": 1, "sentAt": "x", "meta": {"trace": "u", "n": 1}},
            True,
        ),
        (IdentityRule.of(None, ["payload.sentAt"]), {"id": 1, "meta": {"trace": "t", "n": 1}}, True),
        (WHOLE_PAYLOAD, {"id": 1, "sentAt": "later", "meta": {"trace": "t", "n": 1}}, False),
    ],
)
def test_catalogue_names_the_fields_of_the_identity(rule: IdentityRule, payload: dict[str, Any], equal: bool) -> None:
    first = {"id": 1, "sentAt": "now", "meta": {"trace": "t", "n": 1}}
    one, other = (read_event_envelope({**GOOD, "payload": body}) for body in (first, payload))
    assert (one.body_hash(rule) == other.body_hash(rule)) is equal
    assert first == {"id": 1, "sentAt": "now", "meta": {"trace": "t", "n": 1}}


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


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31t12:00:00z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31 12:00:00.5+01:30", "2026-01-31T10:30:00.500000+00:00"),
        ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2016-12-31t15:59:60.25-08:00", "2017-01-01T00:00:00.250000+00:00"),
        ("1937-01-01T12:00:27.87+00:20", "1937-01-01T11:40:27.870000+00:00"),
    ],
)
def test_times_of_rfc_3339_are_accepted(text: str, moment: str) -> None:
    occurred_at = read_event_envelope({**GOOD, "occurred_at": text}).occurred_at
    assert occurred_at is not None
    assert occurred_at.isoformat() == moment
