"""List of events: chips keep the filters, tokens remove one filter, empty states, hostile values, statements."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ingress.admin import event_list
from ingress.dispatch.routing import event_route
from tests.support.events import receive
from tests.support.list_pages import links_in
from tests.support.members import member_of
from tests.support.plans import copies, no_sorts, rows_read
from tests.support.statements import sent_statements
from workflows.errors import PortalError
from workflows.models import Event, EventType, PayloadSchema, Tenant
from workflows.selectors import counts

# A dispatcher of another test would route the events of these tests.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

ADDRESS = "admin:workflows_event_changelist"


def shown(tenant: Any, role: str = "operator", **query: str) -> Any:
    return member_of(tenant, role=role).get(reverse(ADDRESS), query)


def keys_in(page: Any) -> list[str]:
    return [row["keys"] for row in page.context["rows"]]


def test_filters_chips_and_tokens(tenant: Any) -> None:
    for key, name in (("K-1", "A"), ("K-2", "A"), ("K-3", "B")):
        event_route(receive(tenant, event_type=name, workflow_correlation_key=key).id)
    Event.objects.filter(tenant=tenant, correlation_key="K-2").update(outcome="dead")
    page = shown(tenant, event_type="A", received_at_from_0="2020-01-01")
    assert keys_in(page) == ["K-2", "K-1"]
    chips = {chip["word"]: chip for chip in page.context["chips"]}
    assert chips["Dead"]["query"] == "?event_type=A&received_at_from_0=2020-01-01&outcome__exact=dead"
    tokens = {token["label"]: token["without"] for token in page.context["tokens"]}
    assert tokens == {"Event type": "?received_at_from_0=2020-01-01", "Received from": "?event_type=A"}
    dead = shown(tenant, event_type="A", outcome__exact="dead")
    assert keys_in(dead) == ["K-2"]
    assert '<input type="hidden" name="outcome__exact" value="dead">' in dead.content.decode()
    assert keys_in(shown(tenant, q="K-3")) == ["K-3"]
    assert keys_in(shown(tenant, correlation_status__exact="missing")) == []


def test_chips_count_a_limited_number_of_events_of_an_index(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_COUNTED", 2_000)
    event = receive(tenant)
    copies(
        event, 5_000, event_id="'copy-' || n", received_at="now() - n * interval '1 s'",
        outcome="CASE WHEN n % 5 = 0 THEN 'dead' ELSE 'delivered' END",
    )  # fmt: skip
    client = member_of(tenant)
    pages: list[Any] = []
    with no_sorts():
        read = rows_read(tenant, lambda: pages.append(client.get(reverse(ADDRESS))), "workflow_runtime_events")
    # All of one status, as many of the other and of both as are counted, and the rows of the page.
    assert 5_000 < read <= 5_200
    chips = {chip["word"]: chip.get("number") for chip in pages[0].context["chips"]}
    assert (chips["All"], chips["Dead"], chips["Delivered"]) == ("2,000+", "1,000", "2,000+")


@pytest.mark.parametrize(
    "query", [{}, {"event_type": "A"}, {"q": "K-2"}, {"received_at_to_0": "2026-01-01"}, {"q": "x"}]
)
def test_each_chip_counts_the_list_behind_it(tenant: Any, query: dict[str, str]) -> None:
    """Events of each age count, with the filters and the search of the list."""
    for key, name, outcome in (
        ("K-1", "A", "dead"), ("K-2", "A", "unmatched"), ("K-2", "B", "unmatched"), ("K-3", "B", "delivered"),
    ):  # fmt: skip
        event = receive(tenant, event_type=name, workflow_correlation_key=key)
        age = timedelta(hours=25) if key == "K-2" else timedelta(0)
        Event.objects.filter(id=event.id).update(outcome=outcome, received_at=timezone.now() - age)
    client = member_of(tenant)
    for chip in client.get(reverse(ADDRESS), query).context["chips"]:
        rows = keys_in(client.get(reverse(ADDRESS) + chip["query"]))
        assert chip["number"] == str(len(rows)), chip
        assert rows or chip["word"] == "All"


def test_chips_without_numbers_if_the_count_takes_too_long(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(tenant)
    monkeypatch.setattr(event_list, "part_counts", lambda parts, *, tenant_id: None)
    page = shown(tenant)
    assert {chip["number"] for chip in page.context["chips"]} == {""}
    assert "The rows could not be counted in one second" in page.content.decode()
    assert len(keys_in(page)) == 1


@pytest.mark.parametrize("query", [{"outcome__exact": "zzz"}, {"received_at_from_0": "soon"}, {"other": "1"}])
def test_filter_that_cannot_be_read_is_an_error_and_shows_no_rows(tenant: Any, query: dict[str, str]) -> None:
    receive(tenant)
    page = shown(tenant, **query)
    assert (page.status_code, keys_in(page)) == (400, [])
    assert 'class="err"' in page.content.decode()


def test_pages_are_linked(tenant: Any) -> None:
    for number in range(52):
        receive(tenant, workflow_correlation_key=f"K-{number}")
    first = shown(tenant, event_type="REPLIED", p="1")
    assert (len(keys_in(first)), list(links_in(first))) == (50, ["Next"])
    second = member_of(tenant).get(reverse(ADDRESS) + links_in(first)["Next"])
    assert keys_in(second) == ["K-1", "K-0"]
    assert "2 of 52 events" in second.content.decode()
    assert links_in(second)["First page"] == "?event_type=REPLIED"


def test_empty_states_say_what_to_do(tenant: Any) -> None:
    assert "No event has arrived yet" in shown(tenant).content.decode()
    assert "No event matches these filters" in shown(tenant, event_type="X").content.decode()


def test_viewer_sees_no_action_and_hidden_keys_stay_hidden(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["workflow_correlation_key"])
    receive(tenant, workflow_correlation_key="K-4711")
    text = shown(tenant, "viewer").content.decode()
    assert ("K-4711" in text, "[redacted]" in text) == (False, True)
    assert reverse("admin:workflows_event_send") not in text


def test_hostile_values_are_text(tenant: Any) -> None:
    hostile = "<script>alert(1)</script>\u202e" + "k" * 150
    receive(tenant, event_type=hostile, event_id=hostile, workflow_correlation_key=hostile)
    text = shown(tenant, event_type=hostile).content.decode()
    assert "<script>alert" not in text
    assert len(re.findall(r"<bdi[^>]*>&lt;script", text)) >= 3


def test_list_needs_at_most_twelve_statements(tenant: Any) -> None:
    for number in range(20):
        receive(tenant, workflow_correlation_key=f"K-{number}")
    client = member_of(tenant)
    client.get(reverse(ADDRESS))
    with sent_statements() as statements:
        client.get(reverse(ADDRESS), {"q": "K-1"})
    assert len(statements) <= 12, "\n".join(statement[:200] for statement in statements)


@pytest.mark.parametrize(
    ("role", "problem"),
    [("operator", "/amount: must be number, but is string (and 1 more)"), ("viewer", "/amount (and 1 more)")],
)
def test_rejected_event_says_which_part_of_its_payload_is_wrong(tenant: Any, role: str, problem: str) -> None:
    schema = {"type": "object", "properties": {"amount": {"type": "number"}, "customer": {"type": "string"}}}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Paid.v1", schema=schema)
    EventType.objects.create(tenant=tenant, name="PAID", payload_schema_ref="payload.Paid.v1")
    with pytest.raises(PortalError):
        receive(tenant, event_type="PAID", payload={"amount": "4711 EUR", "customer": 7})
    page = shown(tenant, role, problem="rejected")
    assert [row["problem"] for row in page.context_data["rows"]] == [problem]
    assert problem in page.content.decode()
