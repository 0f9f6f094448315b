"""Page of one event: what to do first, live until every delivery is decided, viewers, hostile values, statements."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from ingress.dispatch.delivery import events_deliver_due
from ingress.dispatch.routing import event_route
from tests.support.events import open_wait, receive
from tests.support.factories import publish
from tests.support.members import member_of
from tests.support.statements import sent_statements
from tests.support.triggers import STATE, TRIGGER
from workflows.errors import PortalError
from workflows.models import Definition, Event, EventDelivery, EventType, PayloadSchema, RunWait, Tenant
from workflows.projections.transaction import projection_writer
from workflows.statuses import DeliveryStatus

# A worker of another test would deliver pending events while a page is read.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

HOSTILE = "<script>alert(1)</script>\u202e" + "k" * 160


def page_of(event: Event, role: str = "operator") -> str:
    client = member_of(event.tenant, role=role)
    return client.get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()


def test_almost_matching_wait_leads_to_a_form_with_its_key(tenant: Any) -> None:
    open_wait(tenant, key="TCK-4471")
    event = receive(tenant, workflow_correlation_key="TCK-4417")
    event_route(event.id)
    page = page_of(event)
    assert "two digits are swapped" in page
    assert 'TCK-44<span class="diff">17</span>' in page
    assert f"{reverse('admin:workflows_event_send')}?event={event.id}&amp;key=TCK-4471" in page
    assert "Send with key" not in page_of(event, "viewer")


@pytest.mark.parametrize("keys", [("TCK-4417",), ()])
def test_trace_lists_only_alike_keys_and_says_how_many_runs_wait(tenant: Any, keys: tuple[str, ...]) -> None:
    """The event has the key or no key. In both cases, the keys of the waits are not alike."""
    waits = [open_wait(tenant, key=key) for key in (*(f"OTHER-{number}" for number in range(6)), "SMS-1")]
    open_wait(tenant, key="OTHER-9", name="ANOTHER")
    event = receive(tenant, workflow_correlation_key=next(iter(keys), None), payload={})
    event_route(event.id)
    page = page_of(event)
    assert "No open wait for this event type has a similar key" in page
    assert not [key for key in ("SMS-1", "OTHER-") if key in page]
    assert "wait for this event type now</a>: 7." in page
    client, url = member_of(tenant), f"{reverse('admin:workflows_run_changelist')}?waits_for=REPLIED"
    assert url in page
    assert {row.run.id for row in client.get(url).context["rows"]} == {wait.run_id for wait in waits}


def test_alike_key_is_listed_and_all_runs_that_wait_are_counted(tenant: Any) -> None:
    for key in ("TCK-4471", "SMS-1", "SMS-2"):
        open_wait(tenant, key=key)
    event = receive(tenant, workflow_correlation_key="TCK-4417")
    event_route(event.id)
    page = page_of(event)
    assert "One open wait almost matched" in page
    assert "wait for this event type now</a>: 3." in page
    assert "SMS-1" not in page
    assert re.search(r'title="root\.steps\[0\]">\s*at “<bdi>w</bdi>”', page)


@pytest.mark.parametrize(("kind", "told"), [("token", "desk (API token)"), ("user", "desk")])
def test_event_says_if_a_token_sent_it(tenant: Any, kind: str, told: str) -> None:
    event, other = receive(tenant), receive(tenant, event_id="other")
    sender = {"sender": "desk", "sender_type": kind, "sender_role": "admin"}
    Event.objects.filter(id__in=[event.id, other.id]).update(**sender)
    page = " ".join(strip_tags(page_of(event)).split())
    assert f"from {told}, role admin" in page
    assert re.search(rf"ago, {re.escape(told)} ", page)


def test_heading_of_near_misses_says_how_many_waits_are_still_open(tenant: Any) -> None:
    waits = [open_wait(tenant, key=key) for key in ("TCK-4471", "TCK-4418", "TCK-4416")]
    event = receive(tenant, workflow_correlation_key="TCK-4417")
    event_route(event.id)
    assert "The 3 waits that matched best (near misses), all open" in page_of(event)
    with projection_writer("test"):
        RunWait.objects.filter(id=waits[0].id).update(status="CANCELED")
    page = page_of(event)
    assert (len(re.findall(r"It waits\s+for the key", page)), len(re.findall(r"It waited\s+for the key", page))) == (
        2,
        1,
    )
    assert "The 3 waits that matched best (near misses), 2 of them open" in page_of(event)
    with projection_writer("test"):
        RunWait.objects.filter(id__in=[wait.id for wait in waits]).update(status="CANCELED")
    assert "The 3 waits that matched best (near misses), none of them open" in page_of(event)
    assert len(re.findall(r"It waited\s+for the key", page_of(event))) == 3


def test_start_without_a_field_of_its_mapping_names_the_field_and_offers_a_corrected_event(tenant: Any) -> None:
    mapping = {"amount": {"$expr": "event.payload.order.amount"}}
    publish(tenant, STATE, trigger={**TRIGGER, "payloadMapping": mapping})
    event = receive(tenant, payload={"order": {}})
    event_route(event.id)
    events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
    event.refresh_from_db()
    assert event.outcome_code == "not_started"
    page = page_of(event)
    reason = "<code>event.payload.order.amount</code> has no value: the payload has no <code>order.amount</code>"
    assert page.count(f"payloadMapping.amount: {reason}") == 3  # the box, the delivery and its attempt
    assert "`" not in page
    assert re.search(r"<bdi>Flow</bdi> version 1:\s+its trigger is this event type\.", page)
    assert re.search(r"Not started:\s+<bdi>Flow", page)
    assert "Skipped" not in page
    assert "Send the event again with order.amount, or ask an author to set a default with coalesce." in page
    assert "Send a corrected event…" in page
    over = {"outcome": "unmatched", "buffered_until": timezone.now() - timedelta(seconds=5)}
    Event.objects.filter(id=event.id).update(**over)
    assert "The buffer time ended" not in page_of(event)


def test_event_of_a_type_for_which_no_run_waits_says_so(tenant: Any) -> None:
    event = receive(tenant)
    event_route(event.id)
    assert "No run waits for this event type now." in page_of(event)


def test_event_on_hold_says_why_and_until_when(tenant: Any) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    Definition.objects.filter(tenant=tenant).update(is_paused=True, paused_reason="a holiday")
    event = receive(tenant)
    event_route(event.id)
    events_deliver_due(tenant_id=tenant.id, stop_at=time.monotonic() + 60)
    event.refresh_from_db()
    why = "The event is on hold, because the definition flow is paused: a holiday."
    assert (event.outcome, event.outcome_reason) == ("held", why)
    page = page_of(event)
    assert f'<h2 id="why">{why}</h2>' in page
    assert "An author must resume Flow. The run then starts by itself." in page
    definition = Definition.objects.get(tenant=tenant)
    assert reverse("admin:workflows_definition_change", args=[definition.id]) in page
    assert "Routing</span>" not in page
    shown = member_of(tenant).get(reverse("admin:workflows_event_changelist"), {"outcome__exact": "held"})
    assert re.search(r"On hold\s*<b>1</b>", shown.content.decode())
    assert why in shown.content.decode()


def test_rejected_event_says_that_it_was_not_routed_and_names_the_run_that_waits(tenant: Any) -> None:
    schema = {"properties": {"channel": {"enum": ["mail", "portal", "sms"]}}}
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Reply.v1", schema=schema)
    EventType.objects.create(tenant=tenant, name="REPLIED", payload_schema_ref="payload.Reply.v1")
    wait = open_wait(tenant, filters=[{"path": "channel", "op": "in", "value": ["mail", "portal"]}])
    other = open_wait(tenant, key="T-2")
    with pytest.raises(PortalError):
        receive(tenant, payload={"channel": "fax"})
    event = Event.objects.get(tenant=tenant)
    page, viewed = page_of(event), page_of(event, "viewer")
    assert re.search(r"Received\s+<time", page)
    assert not re.search(r"Accepted\s+<time", page)
    assert "This event has no delivery, because it was rejected before routing." in page
    link = reverse("admin:workflows_run_change", args=[wait.run_id])
    for shown in (page, viewed):
        assert "A run still waits for this event type and key" in shown
        assert link in shown
        assert reverse("admin:workflows_run_change", args=[other.run_id]) not in shown
    assert "channel in [&quot;mail&quot;,&quot;portal&quot;]" in page.replace(", ", ",")
    assert "channel in" not in viewed


def test_event_whose_buffer_time_ended_is_checked_until_its_outcome_is_final(tenant: Any) -> None:
    event = receive(tenant)
    event_route(event.id)
    Event.objects.filter(id=event.id).update(outcome="buffered", buffered_until=timezone.now() - timedelta(seconds=5))
    ended, not_found = "checks if a run that waits or starts can still take this event", "does not find this event"
    page = page_of(event)
    assert (ended in page, not_found in page) == (True, False)
    assert 'id="event-live" data-live data-version' in page
    Event.objects.filter(id=event.id).update(outcome="unmatched")
    page = page_of(event)
    assert (ended in page, not_found in page) == (False, True)
    assert 'id="event-live" data-live data-version' not in page


@pytest.mark.parametrize(
    ("status", "buffer", "is_live"),
    [("pending", -1, True), ("sent", -1, True), ("late", 60, True), ("matched", -1, False), ("dead", -1, False)],
)
def test_page_is_live_until_every_delivery_is_decided(tenant: Any, status: str, buffer: int, is_live: bool) -> None:
    open_wait(tenant)
    event = receive(tenant)
    event_route(event.id)
    EventDelivery.objects.filter(event=event).update(status=status)
    until = timezone.now() + timedelta(seconds=buffer)
    outcome = "routing" if status in (DeliveryStatus.PENDING, DeliveryStatus.SENT) else "delivered"
    Event.objects.filter(id=event.id).update(outcome=outcome, buffered_until=until)
    page = page_of(event)
    assert ('id="event-live" data-live data-version' in page) is is_live


def test_decision_is_said_once_and_only_a_dead_event_can_be_redelivered(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant)
    event_route(event.id)
    for status, outcome, code in (("filtered", "unmatched", "filtered"), ("dead", "dead", "dead")):
        EventDelivery.objects.filter(event=event).update(status=status)
        sentence = f"No run used this event, because it is {status}."
        Event.objects.filter(id=event.id).update(outcome=outcome, outcome_code=code, outcome_reason=sentence)
        page = page_of(event)
        assert page.count(sentence) == 1
        assert f"Decision: {code}" in page
        assert ("Redeliver" in page) is (status == "dead")


def test_hidden_key_is_neither_shown_nor_compared(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["workflow_correlation_key"])
    open_wait(tenant, key="TCK-4471")
    event, other = (
        receive(tenant, workflow_correlation_key="TCK-4417"),
        receive(tenant, workflow_correlation_key="TCK-9"),
    )
    event_route(event.id)
    page = page_of(Event.objects.get(id=event.id))
    assert not [text for text in ("TCK-4417", "TCK-4471", "TCK-9", "swapped") if text in page]
    assert str(other.id) in page


def test_hostile_values_are_text(tenant: Any) -> None:
    open_wait(tenant, key=HOSTILE[:-1], name=HOSTILE)
    event = receive(tenant, event_type=HOSTILE, workflow_correlation_key=HOSTILE, payload={HOSTILE: HOSTILE})
    event_route(event.id)
    page = page_of(event)
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") > 5


def test_page_needs_at_most_twelve_statements(tenant: Any) -> None:
    for number in range(3):
        open_wait(tenant, key=f"T-{number}", name="OTHER")
    open_wait(tenant)
    event = receive(tenant)
    event_route(event.id)
    for number in range(8):
        receive(tenant, workflow_correlation_key=f"S-{number}")
    client, address = member_of(tenant), reverse("admin:workflows_event_change", args=[event.id])
    client.get(address)
    with sent_statements() as statements:
        assert client.get(address).status_code == 200
    assert len(statements) <= 12, "\n".join(statement[:200] for statement in statements)
