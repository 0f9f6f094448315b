"""Why did nothing happen? The decision trace of an event, by service, API and page (docs/reference/events.md#decision-trace)."""

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
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("unheard")

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def explained(event: Event, *, sees_payloads: bool = True) -> dict[str, Any]:
    return event_explained(tenant_id=event.tenant_id, event=Event.objects.get(id=event.id), sees_payloads=sees_payloads)


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


def test_a_near_miss_is_the_answer_and_a_later_wait_still_finds_it(tenant: Any) -> None:
    wait = open_wait(tenant, key="T-2")
    told = explained(routed(tenant))
    assert told["outcome"]["status"] == "buffered"
    assert (
        f"The event carries the key T-1 that was sent with it. No run waited for REPLIED with that key, and no published "
        f"definition is started by it. Run {wait.run_id} of {wait.run.definition_key} waits for it under T-2. A wait that "
        "opens within "
    ) in told["summary"]
    (near,) = told["routing"]["near_misses"]
    assert (near["wait_id"], near["wait_status"], near["run_status"]) == (str(wait.id), "WAITING", "WAITING")
    assert (near["key"], near["why"]) == ("T-2", "the wait has another key")
    assert told["buffer"]["is_open"]
    assert 50 < told["buffer"]["seconds_left"] <= 60


def test_every_place_where_a_key_was_looked_for_is_told(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["invoice.id", "payload.ref"])
    told = explained(
        routed(tenant, event_type="PAID", payload={"invoice": {"id": []}, "ref": "R"}, workflow_correlation_key=None)
    )
    tried = {entry["path"]: (entry["found"], entry["note"]) for entry in told["correlation"]["tried"]}
    assert tried["payload.invoice.id"] == (False, "not a key: the value is an array")
    assert tried["payload.ref"] == (True, "used as a key")
    assert tried["workflow_correlation_key"] == (False, "no value")
    assert told["correlation"]["keys"] == ["R"]


def test_targets_taken_and_not_taken_with_why(tenant: Any) -> None:
    open_wait(tenant)
    version = publish(tenant, STATE, trigger={"type": "event", "eventName": "REPLIED"})
    version.definition.is_paused, version.definition.paused_reason = True, "a holiday"
    version.definition.save()
    told = explained(routed(tenant))
    assert [(wait["taken"], wait["why"]) for wait in told["routing"]["waits"]] == [
        (True, "open, with this name and key")
    ]
    assert [(trigger["taken"], trigger["why"]) for trigger in told["routing"]["triggers"]] == [
        (False, "it is paused: a holiday")
    ]
    kinds = {row["kind"]: row for row in told["deliveries"]}
    assert (kinds["wait"]["target"]["step_id"], kinds["wait"]["key"], kinds["wait"]["status"]) == (
        "w",
        "T-1",
        "pending",
    )
    assert (kinds["trigger"]["target"]["definition"], kinds["trigger"]["target"]["version"]) == ("flow", 1)


def test_attempts_and_the_next_one_are_told(tenant: Any) -> None:
    open_wait(tenant)
    event = routed(tenant)
    row = decided(event, "pending", "Temporal did not answer")
    row.next_attempt_at = timezone.now() + timedelta(seconds=30)
    row.save()
    told = explained(event)
    (delivery,) = told["deliveries"]
    assert (delivery["attempts"], delivery["attempt_log"][0]["reason"]) == (2, "Temporal did not answer")
    assert delivery["next_attempt_at"] == row.next_attempt_at
    assert "failed (Temporal did not answer); the next is due in" in told["summary"]


def test_what_it_started_and_resumed_and_what_came_under_its_id(tenant: Any) -> None:
    event = routed(tenant, event_id="e-1")
    started = make_run(tenant, event=event)
    wait = open_wait(tenant, status="RESOLVED", resolved_at=timezone.now(), event=event)
    with pytest.raises(PortalError):
        receive(tenant, event_id="e-1", payload={"other": 1})
    told = explained(event)
    assert [run["run_id"] for run in told["started_runs"]] == [started.id]
    assert [row["wait_id"] for row in told["resolved_waits"]] == [wait.id]
    (conflict,) = told["conflicts"]
    other = explained(Event.objects.get(id=conflict["id"]))
    assert other["conflict_of"]["id"] == event.id
    assert "belongs to another body" in other["summary"]


def test_a_payload_that_fails_its_schema_is_told_with_its_place(tenant: Any) -> None:
    rejected(tenant)
    told = explained(Event.objects.get(tenant=tenant))
    assert (told["schema"]["ref"], told["schema"]["problems"][0]["pointer"]) == ("payload.Paid.v1", "/amount")
    assert f"payload.Paid.v1 at /amount: {told['schema']['problems'][0]['message']}" in told["summary"]


def rejected(tenant: Any) -> None:
    PayloadSchema.objects.create(
        tenant=tenant,
        ref="payload.Paid.v1",
        schema={"type": "object", "properties": {"amount": {"type": "number"}}},
    )
    EventType.objects.create(tenant=tenant, name="PAID", payload_schema_ref="payload.Paid.v1")
    with pytest.raises(PortalError):
        receive(tenant, event_type="PAID", payload={"amount": "much"})


def test_who_sees_no_payloads_is_told_no_values(tenant: Any) -> None:
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


def test_a_text_that_is_no_key_is_not_quoted_to_who_sees_no_payloads(tenant: Any) -> None:
    event = routed(tenant, payload={"correlationKey": "4711" * 400}, workflow_correlation_key=None)
    assert "4711" in json.dumps(explained(event)["correlation"]["tried"])
    assert "4711" not in json.dumps(explained(event, sees_payloads=False)["correlation"]["tried"])


def test_the_trace_is_found_by_both_ids_and_in_no_other_tenant(tenant: Any) -> None:
    event = routed(tenant, event_id="by-name")
    api = Api(make_token(tenant, Role.VIEWER))
    assert api.get("/events/by-name/trace").json()["id"] == str(event.id)
    assert api.get(f"/events/{event.id}/trace").json()["event_id"] == "by-name"
    stranger = Api(make_token(make_tenant()))
    assert error_of(stranger.get(f"/events/{event.id}/trace"), 404)["code"] == "EVENT_NOT_FOUND"


def test_near_misses_of_other_tenants_are_none(tenant: Any) -> None:
    open_wait(make_tenant(), key="T-2")
    assert explained(routed(tenant))["routing"]["near_misses"] == []


# -- Many targets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def wide(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> Event:
    """An event with seven waits, one of which is told late."""
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


def test_of_many_targets_some_are_told_and_the_rest_is_counted(tenant: Any, wide: Event) -> None:
    stored = Event.objects.get(id=wide.id).decision_trace
    assert (len(stored["waits"]), stored["moreWaits"], stored["moreTriggers"]) == (4, 3, 0)
    told = explained(wide)
    assert [len(told[name]) for name in ("deliveries", "resolved_waits")] == [3, 3]
    assert sorted(row["status"] for row in told["deliveries"]) == ["late", "matched", "matched"]
    assert told["delivery_counts"] == {"matched": 6, "late": 1}
    assert len(told["routing"]["waits"]) == 3
    more = {"waits": 4, "triggers": 0, "deliveries": 4, "conflicts": 0, "started_runs": 0, "resolved_waits": 4}
    assert told["more"] == more
    assert "and 4 more took it." in told["summary"]
    assert "It came too late" in told["summary"]
    page = member_of(tenant).get(reverse("admin:workflows_event_change", args=[wide.id])).content.decode()
    assert page.count('<tr id="delivery-') == 3
    assert page.count("and 4 more") >= 3
    assert "and resumed 4 more" in page


def test_the_event_of_the_api_holds_some_deliveries_in_as_many_statements_as_one(tenant: Any, wide: Event) -> None:
    api = Api(make_token(tenant))
    version = publish(tenant, STATE, trigger={"type": "event", "eventName": "REPLIED"})
    few = routed(tenant, event_id="few")
    EventDelivery.objects.filter(event=few).exclude(kind="trigger").delete()
    EventDelivery.objects.filter(event=wide).update(definition=version.definition)

    def asked(event: Event) -> tuple[dict[str, Any], int]:
        with CaptureQueriesContext(connection) as queries:
            answer = api.get(f"/events/{event.id}")
        return answer.json(), len(queries)

    asked(few)
    (body, many), (_, one) = asked(wide), asked(few)
    assert (len(body["deliveries"]), body["delivery_counts"]) == (3, {"matched": 6, "late": 1})
    assert {row["definition"] for row in body["deliveries"]} == {"flow"}
    assert (len(body["decision_trace"]["waits"]), body["decision_trace"]["moreWaits"]) == (3, 4)
    assert many == one


def test_a_receipt_and_a_delivery_are_as_they_are_described(tenant: Any) -> None:
    api = Api(make_token(tenant))
    parts = api.client.get("/api/v1/schema?format=json").json()["components"]["schemas"]
    receipt = api.post("/events", {"event_type": "NOBODY", "payload": {}}).json()
    assert set(parts["Receipt"]["properties"]) == set(receipt)
    assert "no correlation path is configured" in receipt["correlation_reason"]
    detail = api.get(f"/events/{receipt['id']}").json()
    assert set(parts["EventDetail"]["properties"]) == set(detail)
    assert parts["EventDetail"]["properties"]["deliveries"]["items"]["$ref"].endswith("/Delivery")


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_the_page_tells_all_of_it_to_those_who_may_know(tenant: Any, role: str) -> None:
    open_wait(tenant)
    event = routed(tenant)
    delivery = decided(event, "dead", "the value is 4711")
    page = member_of(tenant, role=role).get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert "it is in the dead letters." in page
    assert f'title="{delivery.run_id}">run {str(delivery.run_id)[:8]}</a>' in page
    assert ("the value is 4711" in page) is (role == "operator")
    assert ("Redeliver…" in page) is (role == "operator")
    assert ("What if it arrived again?" in page) is (role == "operator")


def test_the_page_shows_near_misses_and_counts_the_buffer_down(tenant: Any) -> None:
    open_wait(tenant, key="T-2")
    event = routed(tenant)
    client = member_of(tenant)
    page = client.get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert "the wait has another key" in page
    assert 'class="pm-countdown" data-seconds="5' in page
    assert 'class="pm-countdown"' in client.get(reverse("admin:workflows_event_changelist")).content.decode()
    Event.objects.filter(id=event.id).update(buffered_until=timezone.now() - timedelta(seconds=1))
    assert "pm-countdown" not in client.get(reverse("admin:workflows_event_changelist")).content.decode()
