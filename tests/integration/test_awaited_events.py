"""The page of a waiting run names the event that has arrived for its wait, where the event is, and what to do.

Source: docs/reference/screens.md#run-page
"""

from typing import Any

import pytest
from django.urls import reverse

from ingress.dispatch.routing import event_route
from portal.pages import outages
from tests.integration.test_run_answers import text_of
from tests.support.events import open_wait, receive
from tests.support.members import member_of
from tests.support.servers_state import servers
from tests.support.statements import sent_statements
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, Run
from workflows.statuses import DeliveryStatus

pytestmark = pytest.mark.usefixtures("no_dispatcher")
WHY = "ValueError: the bank is closed"
MISMATCH = {"code": "FILTER_MISMATCH", "path": "channel", "op": "eq", "value": "mail"}


@pytest.fixture(autouse=True)
def _healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "servers", lambda: servers())


def arrived(tenant: Any, status: str, **fields: Any) -> EventDelivery:
    """Create an open wait and a delivery of an event to it."""
    open_wait(tenant)
    event = receive(tenant)
    event_route(event.id)
    with deliveries_changing(Event.objects.filter(id=event.id)):
        EventDelivery.objects.filter(event=event).update(status=status, **fields)
    return EventDelivery.objects.get(event=event)


def shown(tenant: Any, run: Run | None, role: str = "operator") -> Any:
    assert run is not None
    return member_of(tenant, role=role).get(reverse("admin:workflows_run_change", args=[run.id]))


@pytest.mark.parametrize(
    ("status", "fields", "texts", "action"),
    [
        (
            DeliveryStatus.DEAD, {"attempts": 8, "failures": 8, "reason": WHY},
            ["but its delivery failed", f"Reason: {WHY}.", "redeliver the event"], "Redeliver…",
        ),
        (
            DeliveryStatus.PENDING, {"attempts": 2, "failures": 2, "reason": WHY},
            ["but it is not delivered yet", "Attempt 2 to deliver the event failed", f"Reason: {WHY}."],
            "See the event",
        ),
        (DeliveryStatus.PENDING, {}, ["but it is not delivered yet", "The first attempt"], "See the event"),
        (DeliveryStatus.SENT, {}, ["and the run has not decided about it yet"], "See the event"),
        (
            DeliveryStatus.FILTERED, {"mismatch": MISMATCH},
            ["Waiting for the event REPLIED", "but the step did not take it. Reason: the filter channel eq"],
            "Send this event…",
        ),
        (DeliveryStatus.DISCARDED, {}, ["Waiting for the event REPLIED"], "Send this event…"),
    ],
)  # fmt: skip
def test_run_names_the_event_that_has_arrived_and_its_main_action_fits(
    tenant: Any, status: str, fields: dict[str, Any], texts: list[str], action: str
) -> None:
    delivery = arrived(tenant, status, **fields)
    page = shown(tenant, delivery.run)
    text = text_of(page.content.decode())
    assert [part for part in texts if part not in text] == [], text[:1500]
    offered = page.context["offers"].primary
    assert offered.name == action
    assert ("Send this event" in text) == (action == "Send this event…")
    if status == DeliveryStatus.DEAD:
        assert offered.url == reverse("admin:workflows_eventdelivery_redeliver", args=[delivery.id])


def test_event_that_is_not_routed_yet_is_named(tenant: Any) -> None:
    wait = open_wait(tenant)
    receive(tenant)
    receive(tenant, workflow_correlation_key="T-2")
    client = member_of(tenant)
    client.get(reverse("admin:index"))
    with sent_statements() as sent:
        page = client.get(reverse("admin:workflows_run_change", args=[wait.run_id]))
    assert "but it is not delivered yet The event is stored and not routed yet." in text_of(page.content.decode())
    assert len(sent) <= 12, "\n".join(sent)


def test_event_in_progress_explains_more_than_an_older_dead_one(tenant: Any) -> None:
    first = arrived(tenant, DeliveryStatus.DEAD, reason=WHY)
    second = receive(tenant)
    event_route(second.id)
    page = shown(tenant, first.run)
    assert page.context["page"].arrival.event_id == second.id
    assert page.context["offers"].primary.name == "See the event"


def test_viewer_reads_neither_the_reason_nor_an_action(tenant: Any) -> None:
    delivery = arrived(tenant, DeliveryStatus.DEAD, reason=WHY)
    page = shown(tenant, delivery.run, role="viewer")
    text = text_of(page.content.decode())
    assert ("its delivery failed" in text, WHY in text) == (True, False)
    assert page.context["offers"].primary is None


def test_misspelled_key_is_in_the_answer_of_the_run(tenant: Any) -> None:
    wait = open_wait(tenant, key="TCK-4471")
    event_route(receive(tenant, workflow_correlation_key="tck-4471").id)
    text = text_of(shown(tenant, wait.run).content.decode())
    assert "The most alike event arrived" in text
    assert "with the key tck -4471: Only upper and lower case differ." in text
    assert "What to do: Ask the sender of the event. The near misses below" in text


def test_run_list_names_the_failed_delivery(tenant: Any) -> None:
    delivery = arrived(tenant, DeliveryStatus.DEAD, reason=WHY)
    page = member_of(tenant).get(reverse("admin:workflows_run_changelist")).content.decode()
    address = reverse("admin:workflows_event_change", args=[delivery.event_id])
    assert f'<a href="{address}">its delivery failed</a>' in page
