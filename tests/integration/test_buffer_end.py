"""End of the buffer time: a start on hold keeps only the events that its run can take."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch import unfinished_starts
from ingress.dispatch.buffers import events_end_buffer_times
from ingress.dispatch.delivery import events_deliver_due
from ingress.dispatch.routing import event_route
from tests.support.api import Api
from tests.support.events import receive
from tests.support.factories import make_token, publish, wait_for_reply
from tests.support.members import member_of
from workflows.models import Definition, Event
from workflows.selectors.attention import EventProblem, events_with_problem

pytestmark = pytest.mark.usefixtures("no_dispatcher")

REPLIED = "TICKET_CUSTOMER_REPLIED"
TRIGGER = {"type": "event", "eventName": "TICKET_CREATED"}


def hold_start(tenant: Any, *steps: dict[str, Any], ticket: str = "T-1", **envelope: Any) -> Event:
    """Return the event whose start is on hold, because the definition is paused."""
    publish(tenant, *steps, trigger=TRIGGER, **envelope)
    Definition.objects.filter(tenant=tenant).update(is_paused=True, paused_reason="a holiday")
    event = routed(tenant, "TICKET_CREATED", ticket)
    events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
    return event


def routed(tenant: Any, event_type: str, key: str) -> Event:
    event = receive(tenant, event_type=event_type, payload={"ticketId": key}, workflow_correlation_key=key)
    event_route(event.id)
    return event


def end_buffer_time(event: Event) -> Event:
    """Sweep after the end of the buffer time, which still ends after the acceptance of the starts."""
    Event.objects.filter(id=event.id).update(buffered_until=timezone.now(), check_again_at=None)
    events_end_buffer_times(time.monotonic() + 60)
    event.refresh_from_db()
    return event


@pytest.mark.parametrize(
    ("event_type", "key", "outcome"),
    [
        (REPLIED, "T-1", "buffered"),
        (REPLIED, "T-2", "unmatched"),  # the run of the start waits with its own key
        ("OTHER", "T-1", "unmatched"),
    ],
)
def test_start_on_hold_keeps_only_events_that_its_run_can_take(
    tenant: Any, event_type: str, key: str, outcome: str
) -> None:
    hold_start(tenant, wait_for_reply())
    event = end_buffer_time(routed(tenant, event_type, key))
    assert event.outcome == outcome
    unused = events_with_problem(Event.objects.filter(tenant=tenant), EventProblem.UNUSED)
    assert list(unused) == [event]


@pytest.mark.parametrize("calls_by", ["key", "id"])
def test_wait_of_a_called_definition_counts(tenant: Any, calls_by: str) -> None:
    child = publish(tenant, wait_for_reply(), key="child")
    name = child.definition.key if calls_by == "key" else str(child.definition_id)
    call = {"id": "c", "type": "control.callWorkflow", "workflowId": name, "workflowVersion": 1, "inputMapping": {}}
    hold_start(tenant, call, key="parent")
    assert end_buffer_time(routed(tenant, REPLIED, "T-9")).outcome == "buffered"
    assert end_buffer_time(routed(tenant, "OTHER", "T-9")).outcome == "unmatched"


def test_event_that_was_received_shortly_before_the_start_counts(tenant: Any) -> None:
    early = routed(tenant, REPLIED, "T-1")
    old = routed(tenant, REPLIED, "T-1")
    ended = timezone.now()
    hold_start(tenant, wait_for_reply())
    Event.objects.filter(id=old.id).update(buffered_until=ended)  # its buffer time ended before the start
    assert end_buffer_time(early).outcome == "buffered"
    old.refresh_from_db()
    assert old.outcome == "unmatched"


def test_more_starts_than_are_compared_keep_each_event_of_their_waits(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold_start(tenant, wait_for_reply())
    routed(tenant, "TICKET_CREATED", "T-2")
    events = [routed(tenant, REPLIED, "T-9"), routed(tenant, "OTHER", "T-9")]
    assert [end_buffer_time(event).outcome for event in events] == ["unmatched", "unmatched"]
    monkeypatch.setattr(unfinished_starts, "COMPARED_STARTS", 1)
    Event.objects.filter(id__in=[event.id for event in events]).update(outcome="buffered")
    assert [end_buffer_time(event).outcome for event in events] == ["buffered", "unmatched"]


def test_every_screen_names_the_start_for_which_the_event_waits(tenant: Any) -> None:
    start = hold_start(tenant, wait_for_reply(key='"T-" & payload.n'))
    event = end_buffer_time(routed(tenant, REPLIED, "T-5"))
    sentence = "Its buffer time is over. A start of flow on hold can still use it."
    client, api = member_of(tenant), Api(make_token(tenant))
    page = client.get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    listed = client.get(reverse("admin:workflows_event_changelist") + "?outcome__exact=buffer_over").content.decode()
    shown = api.get("/events?outcome=buffer_over").json()["results"]
    trace = api.get(f"/events/{event.id}/trace").json()
    assert page.count(reverse("admin:workflows_event_change", args=[start.id])) >= 2
    assert sentence in page
    assert sentence in listed
    assert [(row["outcome"], sentence in row["outcome_reason"]) for row in shown] == [("buffer_over", True)]
    assert trace["outcome"]["status"] == "buffer_over"
    assert sentence in trace["summary"]


@pytest.mark.parametrize("is_over", [False, True])
def test_badge_list_api_filters_and_counts_agree_before_the_sweep(tenant: Any, is_over: bool) -> None:
    event = routed(tenant, REPLIED, "T-1")
    if is_over:
        Event.objects.filter(id=event.id).update(buffered_until=timezone.now() - timedelta(seconds=1))
    client, api = member_of(tenant), Api(make_token(tenant))
    word, outcome = ("Buffer time over", "buffer_over") if is_over else ("Buffered", "buffered")
    other = "buffered" if is_over else "buffer_over"
    pages = {
        "page": client.get(reverse("admin:workflows_event_change", args=[event.id])),
        "list": client.get(reverse("admin:workflows_event_changelist") + f"?outcome__exact={outcome}"),
    }
    for name, page in pages.items():
        assert word in page.content.decode(), name
    empty = client.get(reverse("admin:workflows_event_changelist") + f"?outcome__exact={other}").content.decode()
    assert str(event.id) not in empty
    numbers = {chip["word"]: chip["number"] for chip in pages["list"].context["chips"]}
    assert numbers == {"All": "1", word: "1"}
    assert [row["outcome"] for row in api.get(f"/events?outcome={outcome}").json()["results"]] == [outcome]
    assert api.get(f"/events?outcome={other}").json()["results"] == []
    assert [row["outcome"] for row in api.get("/events?outcome=buffered&outcome=buffer_over").json()["results"]]
    assert api.get(f"/events/{event.id}").json()["outcome"] == outcome
    assert events_with_problem(Event.objects.filter(tenant=tenant), EventProblem.UNUSED).exists() is is_over
    if is_over:
        assert "The portal decides within seconds" in pages["page"].content.decode()
