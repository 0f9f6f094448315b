"""A corrected event carries its new key where the portal looks for it (docs/reference/events.md#send-an-event)."""

from typing import Any

import pytest

from ingress.explain.skeleton import with_key
from ingress.intake.correlation import correlate_event

PATHS = {"PAID": ["invoice.id", "customer.id"]}


@pytest.mark.parametrize(
    ("payload", "replaces", "key", "wanted", "path"),
    [
        ({"invoice": {"id": "A-1"}}, "A-1", "A-2", {"invoice": {"id": "A-2"}}, "payload.invoice.id"),
        ({"invoice": {"id": "A-1"}}, "", "A-2", {"invoice": {"id": "A-2"}}, "payload.invoice.id"),
        (
            {"invoice": {"id": "A-1"}, "customer": {"id": 7}}, "7", "8",
            {"invoice": {"id": "A-1"}, "customer": {"id": 8}}, "payload.customer.id",
        ),
        ({"customer": {"id": 7}}, "7", "08", {"customer": {"id": "08"}}, "payload.customer.id"),
        (
            {"correlationKey": "A", "invoice": {"id": "B"}}, "A", "C", {"correlationKey": "C", "invoice": {"id": "B"}},
            "payload.correlationKey",
        ),
        ({}, "", "A-2", {"invoice": {"id": "A-2"}}, "payload.invoice.id"),
        ({"invoice": "text"}, "", "A-2", {"invoice": {"id": "A-2"}}, "payload.invoice.id"),
        ({"invoice": {"id": ["A"]}}, "", "A-2", {"invoice": {"id": ["A"]}}, ""),
    ],
)  # fmt: skip
def test_key_is_written_where_the_portal_reads_it(
    payload: Any, replaces: str, key: str, wanted: Any, path: str
) -> None:
    def keys(of: Any) -> Any:
        return correlate_event(event_type="PAID", payload=of, tenant_paths=PATHS, environment_paths={})

    assert with_key(payload, keys(payload).trace, key, replaces=replaces) == path
    assert payload == wanted
    assert (key in keys(payload).keys) == bool(path)


def test_key_of_the_envelope_leaves_the_payload_as_it_is() -> None:
    payload = {"invoice": {"id": "A-1"}}
    found = correlate_event(
        event_type="PAID", payload=payload, envelope_key="E", tenant_paths=PATHS, environment_paths={}
    )
    assert with_key(payload, found.trace, "A-2", replaces="E", paths=["invoice.id"]) == ""
    assert payload == {"invoice": {"id": "A-1"}}


def test_payload_with_the_key_of_the_envelope_gets_the_new_key() -> None:
    payload = {"invoice": {"id": "A-1"}, "customer": {"id": "C"}}
    found = correlate_event(
        event_type="PAID", payload=payload, envelope_key="A-1", tenant_paths=PATHS, environment_paths={}
    )
    paths = ["customer.id", "absent", "payload.invoice.id"]
    assert with_key(payload, found.trace, "A-2", replaces="A-1", paths=paths) == "payload.invoice.id"
    assert payload == {"invoice": {"id": "A-2"}, "customer": {"id": "C"}}
