"""The search of the event list finds keys by their beginning, with an index, and never finds out a hidden key.

Source: docs/reference/screens.md#other-screens
"""

from typing import Any

import pytest

from ingress.search import events_by_term
from tests.support.events import receive
from tests.support.plans import conditions_of, copies
from workflows.models import Event, EventKey, EventType
from workflows.redaction import compiled

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def found(tenant: Any, term: str, *rules: str) -> set[Any]:
    rows = Event.objects.filter(tenant=tenant)
    return set(events_by_term(rows, tenant_id=tenant.id, term=term, rules=compiled(rules)))


def test_event_is_found_by_the_beginning_of_its_key_another_key_or_an_id(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["first", "second"])
    event = receive(
        tenant,
        event_type="PAID",
        event_id="Sent-1",
        workflow_correlation_key=None,
        payload={"first": "PAY-105", "second": "Other"},
    )
    assert event.correlation_keys == ["PAY-105", "Other"]
    for term in ("pay-1", " PAY-105 ", "105", "y-105", "Other", "Sent-1", str(event.id)):
        assert found(tenant, term) == {event}, term
    for term in ("05", "10", "other", "Oth", "sent-1", "pay%", "x" * 500):
        assert found(tenant, term) == set(), term


@pytest.mark.parametrize(
    ("path", "rules"), [("card.number", ["/payload/card/number"]), ("token", []), ("field.value", [])]
)
def test_key_at_a_hidden_place_is_found_only_as_a_whole(tenant: Any, path: str, rules: list[str]) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=[path])
    payload: Any = "SECRET-1"
    for name in reversed(path.split(".")):
        payload = {name: payload}
    event = receive(tenant, event_type="PAID", workflow_correlation_key=None, payload=payload)
    assert event.correlation_key == "SECRET-1"
    assert found(tenant, "SECRET-", *rules) == set()
    assert found(tenant, "secret-1", *rules) == set()
    assert found(tenant, "T-1", *rules) == set()
    assert found(tenant, "SECRET-1", *rules) == {event}


def test_search_uses_indexes_as_the_role_of_the_application(tenant: Any) -> None:
    event = receive(tenant, event_id="template", payload={"ticketId": "TEMPLATE"}, workflow_correlation_key="TEMPLATE")
    copies(
        event, 20_000, event_id="'copy-' || n", correlation_key="'PAY-' || n", correlation_key_folded="'pay-' || n",
        received_at="now() - n * interval '1 s'",
    )  # fmt: skip
    copies(EventKey.objects.get(event=event), 20_000, event_id="gen_random_uuid()", key="'PAY-' || n")
    rows = Event.objects.filter(tenant=tenant)
    for term in ("PAY-1234", "copy-77", "none"):
        searched = events_by_term(rows, tenant_id=tenant.id, term=term, rules=compiled())
        conditions = conditions_of(tenant, searched.order_by("-received_at")[:51])
        assert "correlation_key_folded)::text >= " in conditions
        assert "correlation_key_reversed)::text >= " in conditions
        assert "event_id)::text = " in conditions
    keys = EventKey.objects.filter(tenant=tenant, key="PAY-77")
    assert "key)::text = 'PAY-77'" in conditions_of(tenant, keys)
