"""The page that sends one event: filled from a wait or from a stored event, checked first, sent once."""

import html
import json
import re
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch.routing import events_route_due
from tests.support.api import Api
from tests.support.events import open_wait, receive
from tests.support.factories import make_tenant, make_token
from tests.support.members import member_of
from workflows.models import Command, Event, EventType, PayloadSchema, Tenant
from workflows.models.fields import short_id

# A dispatcher of another test would route the events of these tests.
pytestmark = pytest.mark.usefixtures("no_dispatcher")

SCHEMA = {
    "type": "object",
    "properties": {
        "ticket": {"type": "object", "properties": {"id": {"type": "string"}, "open": {"type": "boolean"}}},
        "text": {"type": "string", "default": "not sent"},
        "amount": {"type": ["number", "null"]},
        "lines": {"type": "array"},
        "kind": {"enum": ["reply"]},
        "place": {"enum": ["here", "there"]},
    },
    "examples": [{"text": "an example"}],
}


def typed_values(page: Any) -> dict[str, Any]:
    form = page.context["form"]
    return {name: form[name].value() or "" for name in form.fields}


def send_page(tenant: Any, **query: str) -> Any:
    return member_of(tenant).get(reverse("admin:workflows_event_send"), query)


def test_wait_fills_type_key_and_an_empty_payload(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Reply.v1", schema=SCHEMA)
    EventType.objects.create(
        tenant=tenant, name="REPLIED", correlation_paths=["ticket.id"], payload_schema_ref="payload.Reply.v1"
    )
    wait = open_wait(tenant, key="T-7", filters=[{"path": "channel", "op": "in", "value": ["mail"]}])
    page = send_page(tenant, wait=str(wait.id))
    values = typed_values(page)
    assert (values["event_type"], values["workflow_correlation_key"]) == ("REPLIED", "T-7")
    expected = {
        "ticket": {"id": "T-7", "open": None}, "text": "", "amount": None, "lines": [], "kind": "reply", "place": "",
        "channel": "mail",
    }  # fmt: skip
    assert json.loads(values["payload"]) == expected
    text = page.content.decode()
    assert "an example" in text
    assert "channel in" in text
    assert "payload.Reply.v1" in text


@pytest.mark.parametrize(
    ("condition", "rules", "filled"),
    [
        ({"op": "=", "value": "mail"}, [], {"channel": "mail"}),
        ({"op": "=", "value": "mail"}, ["channel"], {}),  # the rules hide the value
        ({"op": "in", "value": ["mail", "portal"]}, [], {}),
        ({"op": "exists"}, [], {}),
    ],
)
def test_filter_fills_the_only_value_that_it_accepts(
    tenant: Any, condition: dict[str, Any], rules: list[str], filled: dict[str, Any]
) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=rules)
    wait = open_wait(tenant, key="T-7", filters=[{"path": "channel", **condition}])
    assert json.loads(typed_values(send_page(tenant, wait=str(wait.id)))["payload"]) == filled


def test_stored_event_fills_the_form_and_its_hidden_values_are_sent(tenant: Any) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["*iban*"])
    event = receive(tenant, payload={"iban": "AT-1", "ticketId": "T-1"}, workflow_correlation_key="TCK-4417")
    page = send_page(tenant, event=str(event.id), key="TCK-4471")
    values = typed_values(page)
    assert json.loads(values["payload"]) == {"iban": "[redacted]", "ticketId": "T-1"}
    assert values["workflow_correlation_key"] == "TCK-4471"
    sent = member_of(tenant).post(reverse("admin:workflows_event_send"), {**values, "reason": "wrong key"})
    stored = Event.objects.get(id=sent.headers["Location"].split("/")[-3])
    assert stored.payload == event.payload
    assert (stored.correlation_key, stored.source, stored.event_id != event.event_id) == ("TCK-4471", "admin", True)
    command = Command.objects.get(tenant=tenant)
    assert (command.action, command.reason) == ("send_event", "wrong key")
    assert "AT-1" not in json.dumps(command.payload)


def test_key_of_a_near_miss_replaces_the_key_in_the_payload(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="REPLIED", correlation_paths=["ticketId"])
    open_wait(tenant, key="TCK-4471")
    event = receive(tenant, event_type="REPLIED", payload={"ticketId": "TCK-4417"}, workflow_correlation_key=None)
    events_route_due(tenant_id=tenant.id)
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[event.id]))
    link = re.search(r'<a class="btn primary" href="([^"]*)">', page.content.decode())
    assert link, "the page offers no corrected event"
    values = typed_values(member_of(tenant).get(html.unescape(link.group(1))))
    assert json.loads(values["payload"]) == {"ticketId": "TCK-4471"}
    assert values["workflow_correlation_key"] == "TCK-4471"


def test_check_sends_nothing(tenant: Any) -> None:
    open_wait(tenant, key="T-7")
    form = {"event_type": "REPLIED", "workflow_correlation_key": "T-7", "payload": "{}", "do": "check"}
    page = member_of(tenant).post(reverse("admin:workflows_event_send"), form).content.decode()
    assert "The event would be delivered" in page
    assert "Nothing was stored" in page
    assert not Event.objects.filter(tenant=tenant).exists()
    assert not Command.objects.filter(tenant=tenant, action="send_event").exists()


def test_check_names_the_run_by_its_key_and_shows_each_filter_with_its_result(tenant: Any) -> None:
    filters = [{"path": "channel", "op": "=", "value": "mail"}, {"path": "text", "op": "exists"}]
    wait = open_wait(tenant, key="T-7", filters=filters)
    address = f"{reverse('admin:workflows_event_send')}?wait={wait.id}"
    client, form = member_of(tenant), {"event_type": "REPLIED", "workflow_correlation_key": "T-7", "do": "check"}
    assert "does not match" not in client.get(address).content.decode()
    page = client.post(address, {**form, "payload": json.dumps({"channel": "mail"})}).content.decode()
    name = f"{wait.run.definition.name} T-7"
    assert (short_id(wait.run_id) + "<" in page, f"<bdi>{name}</bdi>" in page, "sender set" in page) == (
        False, True, False,
    )  # fmt: skip
    results = re.findall(r"</svg>(matches|does not match)\s*</span>\s*<bdi><code>(.*?)</code>", page)
    expected = [("matches", "channel = &quot;mail&quot;"), ("does not match", "text exists")]
    assert results == [*expected, *expected]  # beside the forecast of the wait, and beside the form


def test_key_of_the_form_is_named_as_on_the_form(tenant: Any) -> None:
    form = {"event_type": "REPLIED", "workflow_correlation_key": "T-8", "payload": "{}", "do": "check"}
    page = member_of(tenant).post(reverse("admin:workflows_event_send"), form).content.decode()
    text = re.sub(r"<[^>]*>", "", page)
    assert "The event has the correlation key T-8, given with the event." in text
    assert "workflow_correlation_key" not in text


@pytest.mark.parametrize("name", ["wait", "event"])
@pytest.mark.parametrize("value", ["no-id", "foreign"])
def test_row_of_another_tenant_is_not_found(tenant: Any, name: str, value: str) -> None:
    other = make_tenant()
    rows = {"wait": open_wait(other), "event": receive(other)}
    assert send_page(tenant, **{name: str(rows[name].id) if value == "foreign" else value}).status_code == 404


def test_viewer_sees_why_the_form_is_missing(tenant: Any) -> None:
    client, address = member_of(tenant, role="viewer"), reverse("admin:workflows_event_send")
    page = client.get(address, {"event": str(receive(tenant, payload={"a": "4711"}).id)}).content.decode()
    assert "You need the role operator" in page
    assert "4711" not in page
    assert 'name="payload"' not in page
    refused = client.post(address, {"event_type": "E", "payload": "{}", "do": "check"}).content.decode()
    assert "may not send events" in refused
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_page_of_a_waiting_run_has_the_form_filled_from_its_wait(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="payload.Reply.v1", schema=SCHEMA)
    EventType.objects.create(
        tenant=tenant, name="REPLIED", correlation_paths=["ticket.id"], payload_schema_ref="payload.Reply.v1"
    )
    wait = open_wait(tenant, key="T-7", filters=[{"path": "channel", "op": "in", "value": ["mail"]}])
    address = reverse("admin:workflows_run_change", args=[wait.run_id])
    form = member_of(tenant).get(address).content.decode().partition(f'id="send-{wait.id}"')[2].partition("</form>")[0]
    shown = re.search(r'name="payload"[^>]*>(.*?)</textarea>', form, re.DOTALL)
    assert shown is not None
    payload = json.loads(html.unescape(shown[1]))
    assert payload["ticket"] == {"id": "T-7", "open": None}
    assert ('value="REPLIED"' in form, 'value="T-7"' in form, "channel in" in form) == (True, True, True)
    assert ("payload.Reply.v1" in form, "an example" in form) == (True, True)
    target = html.unescape(re.search(r'action="([^"]+)"', form)[1])  # type: ignore[index]
    payload["ticket"]["open"], payload["place"] = True, "here"
    value = {"event_type": "REPLIED", "workflow_correlation_key": "T-7", "payload": json.dumps(payload)}
    sent = member_of(tenant).post(target, {**value, "reason": "by hand"})
    assert sent.status_code == 302, sent.context["form"].errors
    assert Event.objects.get(tenant=tenant).correlation_keys == ["T-7"]
    assert Command.objects.get(tenant=tenant, action="send_event").reason == "by hand"
    assert f"send-{wait.id}" not in member_of(tenant, role="viewer").get(address).content.decode()


def test_check_does_not_call_a_closed_wait_open(tenant: Any) -> None:
    open_wait(tenant, key="TCK-4417", status="RESOLVED", resolved_at=timezone.now())
    open_wait(tenant, key="TCK-4471")
    form = {"event_type": "REPLIED", "payload": "{}", "workflow_correlation_key": "TCK-4417", "do": "check"}
    page = " ".join(member_of(tenant).post(reverse("admin:workflows_event_send"), form).content.decode().split())
    assert "1 wait with this event type and key has closed" in page
    assert "It closed <time" in page
    assert "One open wait almost matched" in page


@pytest.mark.parametrize(
    ("event_type", "given", "rules", "shown", "absent"),
    [
        ("TICKET_REPLYED", "TCK-4471", [], "<bdi><code>TICKET_REPLIED</code></bdi>?", "Check the key."),
        ("TICKET_CLOSED", "TCK-4471", [], "The event would be", "Check the event type."),
        ("TICKET_REPLIED", "TCK-4417", [], "<bdi><code>TCK-4471</code></bdi> at", "Check the event type."),
        ("TICKET_REPLIED", "TCK-4471", [], "The event would be", "Check the key."),
        ("TICKET_REPLIED", "", [], "The event would be", "Check the key."),
        ("TICKET_REPLIED", "TCK-4417", ["/payload/ticketId"], "The event would be", "Check the key."),
        ("TICKET_REPLIED", "TCK-4417", ["workflow_correlation_key"], "The event would be", "Check the key."),
    ],
)
def test_check_remarks_a_misspelled_type_and_another_key_in_the_payload(
    tenant: Any, event_type: str, given: str, rules: list[str], shown: str, absent: str
) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=rules)
    EventType.objects.create(tenant=tenant, name="TICKET_REPLIED", correlation_paths=["ticketId"])
    payload = json.dumps({"ticketId": "TCK-4471"})
    form = {"event_type": event_type, "payload": payload, "workflow_correlation_key": given, "do": "check"}
    page = " ".join(member_of(tenant).post(reverse("admin:workflows_event_send"), form).content.decode().split())
    assert shown in page
    assert absent not in page
    body = {"event_type": event_type, "payload": {"ticketId": "TCK-4471"}}
    result = Api(make_token(tenant)).post(
        "/events/what-if", body | ({"workflow_correlation_key": given} if given else {})
    )
    remarks = result.json()["remarks"]
    assert (bool(remarks["alike_type"]), bool(remarks["other_key"])) == (
        "Check the event type." in page,
        "Check the key." in page,
    )
