"""List of dead letters: each chip counts the list behind it, with the other filters and the search.

Source: docs/reference/screens.md#other-screens
"""

from typing import Any

import pytest
from django.urls import reverse

from ingress.dispatch.routing import event_route
from tests.support.events import open_wait, receive
from tests.support.members import member_of
from workflows.models import EventDelivery
from workflows.selectors import counts

pytestmark = pytest.mark.usefixtures("no_dispatcher")
ADDRESS = reverse("admin:workflows_eventdelivery_changelist")


def deliver(tenant: Any, key: str, status: str, **fields: Any) -> None:
    open_wait(tenant, key=key)
    event = receive(tenant, workflow_correlation_key=key)
    event_route(event.id)
    EventDelivery.objects.filter(tenant=tenant, event=event).update(status=status, **fields)


@pytest.mark.parametrize("query", [{}, {"q": "K-2"}, {"created_at_to_0": "2026-01-01"}, {"status": "late"}])
def test_each_chip_counts_the_list_behind_it(tenant: Any, query: dict[str, str]) -> None:
    for key, status, fields in (
        ("K-1", "dead", {}), ("K-2", "dead", {"created_at": "2025-12-24T12:00:00Z"}), ("K-3", "late", {}),
        ("K-4", "pending", {"held_since": "2026-02-01T12:00:00Z"}), ("K-5", "pending", {}),
    ):  # fmt: skip
        deliver(tenant, key, status, **fields)
    client = member_of(tenant)
    chips = client.get(ADDRESS, query).context["chips"]
    for chip in chips:
        rows = client.get(ADDRESS + chip["query"]).context["rows"]
        assert chip["number"] == str(len(rows)), chip
    *parts, everything = (int(chip["number"]) for chip in chips)
    assert sum(parts) == everything
    assert chips[0]["number"] == ("1" if {"q", "created_at_to_0"} & set(query) else "2")


def test_counts_end_with_a_plus(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MOST_COUNTED", 1)
    for number in range(3):
        deliver(tenant, f"K-{number}", "dead")
    page = member_of(tenant).get(ADDRESS)
    assert page.context["chips"][0]["number"] == "1+"
    assert page.context["total"] == "1+"
