"""Conversion of CloudEvents to envelopes, and the problems of invalid CloudEvents."""

from typing import Any

import pytest

from ingress.intake.cloudevents import binary_cloud_event, content_type_problem, event_id_of, read_cloud_event
from workflows.errors import InputInvalid

EVENT = {"specversion": "1.0", "id": "42", "source": "https://crm.example", "type": "TICKET_CREATED", "data": {"a": 1}}


def problems_of(value: Any) -> list[str]:
    with pytest.raises(InputInvalid) as raised:
        read_cloud_event(value)
    assert raised.value.code == "EVENT_INVALID"
    return [problem["path"] for problem in raised.value.details["problems"]]


def test_attributes_are_converted_to_envelope_fields() -> None:
    envelope = read_cloud_event(
        {
            **EVENT,
            "time": "2026-01-01T10:00:00+01:00",
            "dataschema": "payload.Ticket.v1",
            "datacontenttype": "application/json",
            "subject": "T-1",
            "workflowcorrelationkey": "T-1",
            "correlationkey": "other",
            "traceparent": "00-ab",
            "priority": 3,
            "isnew": True,
        }
    )
    assert (envelope.event_type, envelope.payload) == ("TICKET_CREATED", {"a": 1})
    assert envelope.event_id == "https://crm.example#42"
    assert envelope.occurred_at is not None
    assert envelope.occurred_at.isoformat() == "2026-01-01T09:00:00+00:00"
    assert (envelope.payload_schema_ref, envelope.workflow_correlation_key) == ("payload.Ticket.v1", "T-1")
    assert envelope.attributes == {
        "id": "42",
        "source": "https://crm.example",
        "datacontenttype": "application/json",
        "subject": "T-1",
        "traceparent": "00-ab",
        "priority": 3,
        "isnew": True,
    }


def test_missing_data_is_an_empty_payload_and_null_attributes_are_ignored() -> None:
    event = {name: value for name, value in EVENT.items() if name != "data"}
    envelope = read_cloud_event({**event, "subject": None, "time": None, "correlationkey": 0})
    assert (envelope.payload, envelope.workflow_correlation_key) == ({}, "0")
    assert set(envelope.attributes) == {"id", "source"}


def test_extension_attributes_do_not_change_the_body_hash() -> None:
    first, again = (read_cloud_event({**EVENT, "traceparent": trace}) for trace in ("00-a", "00-b"))
    assert first.body_hash() == again.body_hash()
    assert first.body_hash() != read_cloud_event({**EVENT, "data": {"a": 2}}).body_hash()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"source": None}, "source"),
        ({"type": None}, "type"),
        ({"type": "x" * 201}, "type"),
        ({"data": [1]}, "data"),
        ({"data": "text"}, "data"),
        ({"data": None}, "data"),
        ({"data_base64": "AA=="}, "data_base64"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"time": "yesterday"}, "time"),
        ({"dataschema": "x" * 201}, "dataschema"),
        ({"workflowcorrelationkey": ["a"]}, "workflowcorrelationkey"),
        ({"Subject": "x"}, "Subject"),
        ({"trace_id": "x"}, "trace_id"),
        ({"extra": {"a": 1}}, "extra"),
        ({"data": {"a": "\x00"}}, "/data/a"),
        ({"subject": "\x00"}, "subject"),
        ({"extra": "x" * 20_000}, ""),
    ],
)
def test_problems_use_the_names_of_cloudevents(changes: dict[str, Any], path: str) -> None:
    assert problems_of({**EVENT, **changes}) == [path]


def test_all_problems_are_reported_at_once() -> None:
    assert sorted(problems_of({"type": "", "data": 1})) == ["data", "id", "source", "specversion", "type"]
    assert problems_of([]) == [""]


def test_plain_events_cannot_have_attributes() -> None:
    from ingress.intake.envelope import read_event_envelope

    with pytest.raises(InputInvalid):
        read_event_envelope({"event_type": "E", "payload": {}, "attributes": {"subject": "x"}})


@pytest.mark.parametrize(
    ("source", "identity", "event_id"),
    [("/a", "1", "/a#1"), ("/a", "1#2", "/a#1#2"), ("s" * 100, "i" * 99, "s" * 100 + "#" + "i" * 99)],
)
def test_event_id_is_made_of_source_and_id(source: str, identity: str, event_id: str) -> None:
    assert event_id_of(source, identity) == event_id


def test_long_or_ambiguous_event_ids_contain_a_stable_hash() -> None:
    long = event_id_of("https://example.com/" + "s" * 300, "1")
    assert (len(long), long.startswith("https://example.com/ss")) == (200, True)
    assert long == event_id_of("https://example.com/" + "s" * 300, "1")
    assert long != event_id_of("https://example.com/" + "s" * 300, "2")
    assert event_id_of("/a#b", "c") != event_id_of("/a", "b#c")
    assert event_id_of("/a#b", "c").startswith("/a#b#c~")


def test_headers_are_decoded_as_percent_encoded_utf_8() -> None:
    headers = {
        "Ce-Specversion": "1.0",
        "Ce-Id": "42",
        "Ce-Source": "/a%20b",
        "CE-TYPE": "E",
        "ce-subject": "Gr%C3%BC%C3%9Fe 100%",
        "ce-quoted": '"a \\"b\\""',
        "ce-raw": "é".encode().decode("latin-1"),
        "Content-Type": "application/json",
        "Authorization": "x",
    }
    event = binary_cloud_event(headers, {"a": 1})
    assert event == {
        "specversion": "1.0",
        "id": "42",
        "source": "/a b",
        "type": "E",
        "subject": "Grüße 100%",
        "quoted": 'a "b"',
        "raw": "é",
        "data": {"a": 1},
    }


@pytest.mark.parametrize("header", [{"ce-subject": "%FF"}, {"ce-data": "{}"}, {"ce-datacontenttype": "text/plain"}])
def test_invalid_headers_are_refused(header: dict[str, str]) -> None:
    with pytest.raises(InputInvalid):
        binary_cloud_event(header, {})


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "application/json; charset=utf-8", "text/json", "application/vnd.a+json;v=1"],
)
def test_json_content_types_are_accepted(content_type: str) -> None:
    assert content_type_problem(content_type) is None


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/jsonp", "json", "application/octet-stream"]
)
def test_other_content_types_are_refused(content_type: str) -> None:
    assert content_type_problem(content_type) is not None
