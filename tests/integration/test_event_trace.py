"""Decision trace of an event, from the service, the API and the page.

Source: docs/reference/events.md#decision-trace
"""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch import routing
from ingress.dispatch.routing import event_route
from ingress.explain import trace
from ingress.explain.trace import event_explained
from tests.support.api import Api, error_of
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant, make_token, publish
from tests.support.members import member_of
from workflows.errors import PortalError
from workflows.models import Event, EventDelivery, EventType, PayloadSchema, RunWait
from workflows.projections.transaction import projection_writer
from workflows.redaction import rules_of
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def explained(event: Event, *, sees_payloads: bool = True) -> dict[str, Any]:
    stored, rules = Event.objects.get(id=event.id), rules_of(event.tenant_id)
    return event_explained(tenant_id=event.tenant_id, event=stored, sees_payloads=sees_payloads, rules=rules)


def routed(tenant: Any, **value: Any) -> Event:
    event = receive(tenant, **value)
    event_route(event.id)
    return event


def decided(event: Event, status: str, reason: str) -> EventDelivery:
    delivery = EventDelivery.objects.get(event=event)
    delivery.status, delivery.reason, delivery.attempts, delivery.decided_at = status, reason, 2, timezone.now()
    delivery.attempt_log = [{"at": timezone.now().isoformat(), "attempt": 1, "outcome": "failed", "reason": reason}]
    delivery.save()
    return delivery


def test_trace_names_the_near_miss_and_the_remaining_buffer_time(tenant: Any) -> None:
    wait = open_wait(tenant, key="T-2")
    result = explained(routed(tenant))
    assert result["outcome"]["status"] == "buffered"
    assert (
        "No run has used this event yet. No wait had this event type and key. "
        "The event has the correlation key T-1, given with the event. "
        f"Near miss: run {wait.run_id} of {wait.run.definition_key} waits for this event with the key T-2. "
        "A wait that opens within "
    ) in result["summary"]
    (near,) = result["routing"]["near_misses"]
    assert (near["wait_id"], near["wait_status"], near["run_status"]) == (str(wait.id), "WAITING", "WAITING")
    assert (near["key"], near["why"]) == ("T-2", "the wait has another key")
    assert result["buffer"]["is_open"]
    assert 50 < result["buffer"]["seconds_left"] <= 60


def test_trace_names_the_event_type_that_was_probably_meant(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="INVOICE_REPLIED", correlation_paths=["ref"])
    misspelled = routed(tenant, event_type="INVOICE_REPLY", payload={"ref": "R"}, workflow_correlation_key=None)
    assert explained(misspelled)["alike_type"] == "INVOICE_REPLIED"
    known = routed(tenant, event_type="INVOICE_REPLIED", payload={}, workflow_correlation_key=None)
    assert explained(known)["alike_type"] == ""
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[misspelled.id])).content.decode()
    assert "Send as INVOICE_REPLIED" in page


def test_trace_contains_every_place_that_was_searched_for_a_key(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["invoice.id", "payload.ref"])
    result = explained(
        routed(tenant, event_type="PAID", payload={"invoice": {"id": []}, "ref": "R"}, workflow_correlation_key=None)
    )
    tried = {entry["path"]: (entry["found"], entry["note"]) for entry in result["correlation"]["tried"]}
    assert tried["payload.invoice.id"] == (False, "not a key: the value is an array")
    assert tried["payload.ref"] == (True, "used as a key")
    assert tried["workflow_correlation_key"] == (False, "no value")
    assert result["correlation"]["keys"] == ["R"]


def test_trace_contains_targets_with_reasons(tenant: Any) -> None:
    open_wait(tenant)
    version = publish(tenant, STATE, trigger={"type": "event", "eventName": "REPLIED"})
    version.definition.is_paused, version.definition.paused_reason = True, "a holiday"
    version.definition.save()
    result = explained(routed(tenant))
    assert [(wait["taken"], wait["why"]) for wait in result["routing"]["waits"]] == [
        (True, "open, with this event name and key")
    ]
    assert [(trigger["taken"], trigger["why"]) for trigger in result["routing"]["triggers"]] == [
        (True, "the definition flow is paused: a holiday; an author must resume it")
    ]
    kinds = {row["kind"]: row for row in result["deliveries"]}
    assert (kinds["wait"]["target"]["step_id"], kinds["wait"]["key"], kinds["wait"]["status"]) == (
        "w",
        "T-1",
        "pending",
    )
    assert (kinds["trigger"]["target"]["definition"], kinds["trigger"]["target"]["version"]) == ("flow", 1)


def test_trace_contains_attempts_and_the_next_attempt_time(tenant: Any) -> None:
    open_wait(tenant)
    event = routed(tenant)
    row = decided(event, "pending", "Temporal did not respond")
    row.next_attempt_at = timezone.now() + timedelta(seconds=30)
    row.save()
    result = explained(event)
    (delivery,) = result["deliveries"]
    assert (delivery["attempts"], delivery["attempt_log"][0]["reason"]) == (2, "Temporal did not respond")
    assert delivery["next_attempt_at"] == row.next_attempt_at
    assert "failed (Temporal did not respond). The next attempt is due in" in result["summary"]


def test_trace_contains_started_runs_resolved_waits_and_conflicts(tenant: Any) -> None:
    event = routed(tenant, event_id="e-1")
    started = make_run(tenant, event=event)
    wait = open_wait(tenant, status="RESOLVED", resolved_at=timezone.now(), event=event)
    with pytest.raises(PortalError):
        receive(tenant, event_id="e-1", payload={"other": 1})
    result = explained(event)
    assert [run["run_id"] for run in result["started_runs"]] == [started.id]
    assert [row["wait_id"] for row in result["resolved_waits"]] == [wait.id]
    (conflict,) = result["conflicts"]
    other = explained(Event.objects.get(id=conflict["id"]))
    assert other["conflict_of"]["id"] == event.id
    assert other["summary"].startswith("The event was refused. Its id belongs to an event with another body.")


def test_trace_contains_the_place_of_a_schema_problem(tenant: Any) -> None:
    rejected(tenant)
    result = explained(Event.objects.get(tenant=tenant))
    assert (result["schema"]["ref"], result["schema"]["problems"][0]["pointer"]) == ("payload.Paid.v1", "/amount")
    assert f"the payload at /amount: {result['schema']['problems'][0]['message']}" in result["summary"]


def rejected(tenant: Any) -> None:
    PayloadSchema.objects.create(
        tenant=tenant,
        ref="payload.Paid.v1",
        schema={"type": "object", "properties": {"amount": {"type": "number"}}},
    )
    EventType.objects.create(tenant=tenant, name="PAID", payload_schema_ref="payload.Paid.v1")
    with pytest.raises(PortalError):
        receive(tenant, event_type="PAID", payload={"amount": "much"})


def test_readers_who_may_not_see_payloads_get_no_values(tenant: Any) -> None:
    open_wait(tenant)
    event = routed(tenant)
    decided(event, "filtered", "the value is 4711")
    rejected(tenant)
    operator, viewer = Api(make_token(tenant)), Api(make_token(tenant, Role.VIEWER))
    assert "4711" in operator.get(f"/events/{event.id}/trace").content.decode()
    shown = viewer.get(f"/events/{event.id}/trace")
    assert shown.status_code == 200
    assert "4711" not in shown.content.decode()
    assert "did not take it." in shown.json()["summary"]
    assert shown.json()["deliveries"][0]["attempt_log"][0]["outcome"] == "failed"
    other = Event.objects.get(tenant=tenant, event_type="PAID")
    message = operator.get(f"/events/{other.id}/trace").json()["schema"]["problems"][0]["message"]
    for path in (f"/events/{other.id}/trace", f"/events/{other.id}"):
        assert message in operator.get(path).content.decode()
        assert message not in viewer.get(path).content.decode()
        assert "/amount" in viewer.get(path).content.decode()


def test_trace_does_not_quote_a_value_that_is_not_a_key(tenant: Any) -> None:
    event = routed(tenant, payload={"correlationKey": "4711" * 400}, workflow_correlation_key=None)
    assert "4711" not in json.dumps(explained(event)["correlation"]["tried"])


def test_trace_is_found_by_both_ids_and_by_its_tenant_only(tenant: Any) -> None:
    event = routed(tenant, event_id="by-name")
    api = Api(make_token(tenant, Role.VIEWER))
    assert api.get("/events/by-name/trace").json()["id"] == str(event.id)
    assert api.get(f"/events/{event.id}/trace").json()["event_id"] == "by-name"
    stranger = Api(make_token(make_tenant()))
    assert error_of(stranger.get(f"/events/{event.id}/trace"), 404)["code"] == "EVENT_NOT_FOUND"


def test_waits_of_other_tenants_are_not_near_misses(tenant: Any) -> None:
    open_wait(make_tenant(), key="T-2")
    assert explained(routed(tenant))["routing"]["near_misses"] == []


# -- Many targets -----------------------------------------------------------------------------------------------------


@pytest.fixture
def wide(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> Event:
    """Return an event with seven deliveries to waits. One delivery is late."""
    monkeypatch.setattr(trace, "SHOWN_ROWS", 3)
    monkeypatch.setattr(routing, "KEPT_TARGETS", 4)
    run = make_run(tenant)
    for _ in range(7):
        open_wait(tenant, run=run)
    event = routed(tenant)
    last = EventDelivery.objects.filter(event=event).order_by("created_at", "id").last()
    EventDelivery.objects.filter(event=event).update(status="matched")
    EventDelivery.objects.filter(id=last.id).update(status="late", reason="the run has ended")
    for wait in RunWait.objects.filter(tenant=tenant):
        with projection_writer("test"):
            RunWait.objects.filter(id=wait.id).update(event=event, resolved_at=timezone.now())
    return event


def test_some_of_many_targets_are_shown_and_the_others_are_counted(tenant: Any, wide: Event) -> None:
    stored = Event.objects.get(id=wide.id).decision_trace
    assert (len(stored["waits"]), stored["moreWaits"], stored["moreTriggers"]) == (4, 3, 0)
    result = explained(wide)
    assert [len(result[name]) for name in ("deliveries", "resolved_waits")] == [3, 3]
    assert sorted(row["status"] for row in result["deliveries"]) == ["late", "matched", "matched"]
    assert result["delivery_counts"] == {"matched": 6, "late": 1}
    assert len(result["routing"]["waits"]) == 3
    more = {"waits": 4, "triggers": 0, "deliveries": 4, "conflicts": 0, "started_runs": 0, "resolved_waits": 4}
    assert result["more"] == more
    assert "and 4 more took the event." in result["summary"]
    assert "could not take the event" in result["summary"]
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[wide.id])).content.decode()
    assert page.count('<li id="delivery-') == 3
    assert page.count("And 4 more.") >= 2
    assert "And 4 more runs continued." in page


def test_event_in_the_api_has_some_deliveries_and_a_fixed_number_of_statements(tenant: Any, wide: Event) -> None:
    api = Api(make_token(tenant))
    version = publish(tenant, STATE, trigger={"type": "event", "eventName": "REPLIED"})
    few = routed(tenant, event_id="few")
    EventDelivery.objects.filter(event=few).exclude(kind="trigger").delete()
    EventDelivery.objects.filter(event=wide).update(definition=version.definition)

    def get(event: Event) -> tuple[dict[str, Any], int]:
        with CaptureQueriesContext(connection) as queries:
            response = api.get(f"/events/{event.id}")
        return response.json(), len(queries)

    get(few)
    (body, many), (_, one) = get(wide), get(few)
    assert (len(body["deliveries"]), body["delivery_counts"]) == (3, {"matched": 6, "late": 1})
    assert {row["definition"] for row in body["deliveries"]} == {"flow"}
    assert (len(body["decision_trace"]["waits"]), body["decision_trace"]["moreWaits"]) == (3, 4)
    assert many == one


def test_receipt_and_event_match_the_openapi_schema(tenant: Any) -> None:
    api = Api(make_token(tenant))
    parts = api.client.get("/api/v1/schema?format=json").json()["components"]["schemas"]
    receipt = api.post("/events", {"event_type": "NOBODY", "payload": {}}).json()
    assert set(parts["Receipt"]["properties"]) == set(receipt)
    assert "no correlation path is configured" in receipt["correlation_reason"]
    detail = api.get(f"/events/{receipt['id']}").json()
    assert set(parts["EventDetail"]["properties"]) == set(detail)
    assert parts["EventDetail"]["properties"]["deliveries"]["items"]["$ref"].endswith("/Delivery")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_page_shows_payload_values_and_actions_to_operators_only(tenant: Any, role: str) -> None:
    open_wait(tenant)
    event = routed(tenant)
    delivery = decided(event, "dead", "the value is 4711")
    page = member_of(tenant, role=role).get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert f'{reverse("admin:workflows_run_change", args=[delivery.run_id])}"><bdi>' in page
    assert ("the value is 4711" in page) is (role == "operator")
    assert ("Redeliver…" in page) is (role == "operator")
    assert ("Preview routing now…" in page) is (role == "operator")


def test_page_shows_near_misses_and_a_countdown_of_the_buffer_time(tenant: Any) -> None:
    open_wait(tenant, key="T-2")
    event = routed(tenant)
    client = member_of(tenant)
    page = client.get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert 'T-<span class="diff">2</span>' in page
    assert "One digit differs" in page
    assert 'class="pm-countdown" data-seconds="5' in page
    assert 'class="pm-countdown"' in client.get(reverse("admin:workflows_event_changelist")).content.decode()
    Event.objects.filter(id=event.id).update(buffered_until=timezone.now() - timedelta(seconds=1))
    assert "pm-countdown" not in client.get(reverse("admin:workflows_event_changelist")).content.decode()
