"""CloudEvents as the portal's envelope: what each attribute becomes, and what is refused with which word."""

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


def test_each_attribute_has_its_place() -> None:
    envelope = read_cloud_event(
        {
            **EVENT, "time": "2026-01-01T10:00:00+01:00", "dataschema": "payload.Ticket.v1", "datacontenttype": "application/json",
            "subject": "T-1", "workflowcorrelationkey": "T-1", "correlationkey": "other", "traceparent": "00-ab", "priority": 3, "isnew": True,
        }
    )  # fmt: skip
    assert (envelope.event_type, envelope.payload) == ("TICKET_CREATED", {"a": 1})
    assert envelope.event_id == "https://crm.example#42"
    assert envelope.occurred_at is not None
    assert envelope.occurred_at.isoformat() == "2026-01-01T09:00:00+00:00"
    assert (envelope.payload_schema_ref, envelope.workflow_correlation_key) == ("payload.Ticket.v1", "T-1")
    assert envelope.attributes == {
        "id": "42", "source": "https://crm.example", "datacontenttype": "application/json", "subject": "T-1",
        "traceparent": "00-ab", "priority": 3, "isnew": True,
    }  # fmt: skip


def test_an_event_without_data_has_an_empty_payload_and_nulls_are_not_there() -> None:
    event = {name: value for name, value in EVENT.items() if name != "data"}
    envelope = read_cloud_event({**event, "subject": None, "time": None, "correlationkey": 0})
    assert (envelope.payload, envelope.workflow_correlation_key) == ({}, "0")
    assert set(envelope.attributes) == {"id", "source"}


def test_tracing_attributes_are_no_part_of_the_body() -> None:
    first, again = (read_cloud_event({**EVENT, "traceparent": trace}) for trace in ("00-a", "00-b"))
    assert first.body_hash() == again.body_hash()
    assert first.body_hash() != read_cloud_event({**EVENT, "data": {"a": 2}}).body_hash()


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"specversion": "0.3"}, "specversion"), ({"specversion": 1.0}, "specversion"), ({"specversion": None}, "specversion"),
        ({"id": ""}, "id"), ({"id": 7}, "id"), ({"source": None}, "source"), ({"type": None}, "type"), ({"type": "x" * 201}, "type"),
        ({"data": [1]}, "data"), ({"data": "text"}, "data"), ({"data": None}, "data"), ({"data_base64": "AA=="}, "data_base64"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"), ({"time": "yesterday"}, "time"), ({"dataschema": "x" * 201}, "dataschema"),
        ({"workflowcorrelationkey": ["a"]}, "workflowcorrelationkey"), ({"Subject": "x"}, "Subject"), ({"trace_id": "x"}, "trace_id"),
        ({"extra": {"a": 1}}, "extra"), ({"data": {"a": "\x00"}}, "/data/a"), ({"subject": "\x00"}, "subject"), ({"extra": "x" * 20_000}, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_as_the_sender_named_it(changes: dict[str, Any], path: str) -> None:
    assert problems_of({**EVENT, **changes}) == [path]


def test_all_problems_are_told_at_once() -> None:
    assert sorted(problems_of({"type": "", "data": 1})) == ["data", "id", "source", "specversion", "type"]
    assert problems_of([]) == [""]


def test_attributes_come_from_no_plain_body() -> None:
    from ingress.intake.envelope import read_event_envelope

    with pytest.raises(InputInvalid):
        read_event_envelope({"event_type": "E", "payload": {}, "attributes": {"subject": "x"}})


@pytest.mark.parametrize(
    ("source", "identity", "event_id"),
    [("/a", "1", "/a#1"), ("/a", "1#2", "/a#1#2"), ("s" * 100, "i" * 99, "s" * 100 + "#" + "i" * 99)],
)
def test_an_event_id_is_source_and_id(source: str, identity: str, event_id: str) -> None:
    assert event_id_of(source, identity) == event_id


def test_an_event_id_that_is_too_long_or_ambiguous_is_shortened_to_the_same_for_ever() -> None:
    long = event_id_of("https://example.com/" + "s" * 300, "1")
    assert (len(long), long.startswith("https://example.com/ss")) == (200, True)
    assert long == event_id_of("https://example.com/" + "s" * 300, "1")
    assert long != event_id_of("https://example.com/" + "s" * 300, "2")
    assert event_id_of("/a#b", "c") != event_id_of("/a", "b#c")
    assert event_id_of("/a#b", "c").startswith("/a#b#c~")


def test_headers_are_percent_encoded_utf_8() -> None:
    headers = {
        "Ce-Specversion": "1.0", "Ce-Id": "42", "Ce-Source": "/a%20b", "CE-TYPE": "E", "ce-subject": "Gr%C3%BC%C3%9Fe 100%",
        "ce-quoted": '"a \\"b\\""', "ce-raw": "é".encode().decode("latin-1"), "Content-Type": "application/json", "Authorization": "x",
    }  # fmt: skip
    event = binary_cloud_event(headers, {"a": 1})
    assert event == {
        "specversion": "1.0", "id": "42", "source": "/a b", "type": "E", "subject": "Grüße 100%", "quoted": 'a "b"', "raw": "é",
        "data": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize("header", [{"ce-subject": "%FF"}, {"ce-data": "{}"}, {"ce-datacontenttype": "text/plain"}])
def test_headers_that_are_none_are_refused(header: dict[str, str]) -> None:
    with pytest.raises(InputInvalid):
        binary_cloud_event(header, {})


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "application/json; charset=utf-8", "text/json", "application/vnd.a+json;v=1"],
)
def test_data_is_json(content_type: str) -> None:
    assert content_type_problem(content_type) is None


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/jsonp", "json", "application/octet-stream"]
)
def test_data_is_nothing_else(content_type: str) -> None:
    assert content_type_problem(content_type) is not None
