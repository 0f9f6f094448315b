"""Intake, correlation, routing and lookback of events, without Temporal (docs/reference/events.md)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ingress.dispatch import near_misses
from ingress.dispatch.routing import event_route, events_route_due
from ingress.tasks import consume_event
from portal.celery import read_message
from tests.support.api import Api, error_of
from tests.support.events import REPLY, open_wait, receive
from tests.support.factories import make_run, make_tenant, make_token, publish
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.models import Event, EventDelivery, EventKey, EventType, RunWait
from workflows.projections.transaction import projection_writer
from workflows.services.wait_lookback import wait_look_for_events

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def test_repeat_returns_the_first_record(tenant: Any) -> None:
    api = Api(make_token(tenant))
    first = api.post("/events", {**REPLY, "event_id": "e-1"})
    again = api.post(
        "/events",
        {"payload": {"ticketId": "T-1"}, "event_id": "e-1", "event_type": "REPLIED", "workflow_correlation_key": "T-1"},
    )
    assert (first.status_code, first.json()["duplicate"]) == (202, False)
    assert (again.status_code, again.json()["duplicate"], again.json()["id"]) == (200, True, first.json()["id"])
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_another_body_under_a_used_id_is_refused_and_kept_as_rejected(tenant: Any) -> None:
    first = receive(tenant, event_id="e-1")
    with pytest.raises(Conflict) as raised:
        receive(tenant, event_id="e-1", payload={"ticketId": "T-2"})
    assert raised.value.code == "EVENT_ID_CONFLICT"
    kept = Event.objects.get(tenant=tenant, occupies_id=False)
    assert (kept.outcome, kept.conflict_of_id, kept.payload) == ("rejected", first.id, {"ticketId": "T-2"})
    assert receive(tenant, event_id="e-1").id == first.id


@pytest.mark.parametrize(
    "again",
    [
        '{"event_type": "REPLIED", "event_id": "e-1", "payload": {"n": 10.0, "ticketId": "T-1"}}',
        '{"event_type": "REPLIED", "event_id": "e-1", "payload": {"ticketId": "T-1", "n": 1e1}}',
        '{"event_type": "REPLIED", "event_id": "e-1", "payload": {"ticketId": "T-1", "n": 10},'
        ' "occurred_at": "2026-01-02T10:00:00Z"}',
    ],
)
def test_retry_that_differs_only_in_its_form_is_a_duplicate(tenant: Any, again: str) -> None:
    api = Api(make_token(tenant))
    body = {"event_type": "REPLIED", "event_id": "e-1", "payload": {"ticketId": "T-1", "n": 10}}
    first = api.post("/events", {**body, "occurred_at": "2026-01-01T10:00:00Z"})
    repeat = api.post("/events", again)
    assert (first.status_code, repeat.status_code) == (202, 200)
    assert (repeat.json()["duplicate"], repeat.json()["id"]) == (True, first.json()["id"])


def test_catalogue_decides_which_fields_make_a_duplicate(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="REPLIED", identity_excluded_paths=["sentAt"])
    first = receive(tenant, event_id="e-1", payload={"id": 1, "sentAt": "10:00"})
    assert receive(tenant, event_id="e-1", payload={"id": 1, "sentAt": "10:01"}).id == first.id
    with pytest.raises(Conflict):
        receive(tenant, event_id="e-1", payload={"id": 2, "sentAt": "10:00"})
    # The rule of the moment counts, also for an event that was stored under another rule.
    EventType.objects.update(identity_excluded_paths=None, identity_paths=["kind"])
    assert receive(tenant, event_id="e-1", payload={"id": 2, "sentAt": "10:02"}).id == first.id


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ('{"a": [1, 1e400]}', "/payload/a/1 is outside the range"),
        ('{"a": 1, "a": 2}', "/payload has the key 'a' twice"),
        ('{"a": ' + "9" * 1001 + "}", "/payload/a has more than 1,000 digits"),
    ],
)  # fmt: skip
def test_value_that_cannot_be_kept_is_refused_with_its_place(tenant: Any, payload: str, place: str) -> None:
    response = Api(make_token(tenant)).post("/events", '{"event_type": "E", "payload": ' + payload + "}")
    error = error_of(response, 400)
    assert (error["code"], place in error["message"]) == ("BODY_INVALID", True)
    with pytest.raises(InputInvalid) as raised:
        consume_event(read_message('{"tenant": "' + tenant.slug + '", "event_type": "E", "payload": ' + payload + "}"))
    assert raised.value.code == "EVENT_INVALID"
    assert not Event.objects.filter(tenant=tenant).exists()


def test_two_tenants_can_use_the_same_event_id(tenant: Any) -> None:
    assert receive(tenant, event_id="e-1").id != receive(make_tenant(), event_id="e-1").id


def test_event_without_id_gets_one(tenant: Any) -> None:
    assert receive(tenant).event_id != receive(tenant).event_id


def test_batch_returns_a_result_for_each_event(tenant: Any) -> None:
    body = {
        "events": [
            {**REPLY, "event_id": "a"},
            {"payload": {}},
            {**REPLY, "event_id": "a"},
            {**REPLY, "event_id": "a", "payload": {"x": 1}},
        ]
    }
    response = Api(make_token(tenant)).post("/events", body)
    assert response.status_code == 207
    assert [result["status"] for result in response.json()["results"]] == [202, 400, 200, 409]
    assert response.json()["results"][1]["error"]["code"] == "EVENT_INVALID"


def test_payload_keeps_the_order_of_its_keys(tenant: Any) -> None:
    stored = Event.objects.get(id=receive(tenant, payload={"zz": 1, "a": {"y": 1, "b": 2}, "mm": 1.0}).id)
    assert (list(stored.payload), list(stored.payload["a"]), type(stored.payload["mm"])) == (
        ["zz", "a", "mm"],
        ["y", "b"],
        float,
    )


def test_catalogue_paths_give_the_keys(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["invoice.id", "payload.ref"])
    event = receive(
        tenant, event_type="PAID", payload={"invoice": {"id": 7}, "ref": "R"}, workflow_correlation_key=None
    )
    assert (event.correlation_status, event.correlation_key, event.correlation_keys) == ("derived", "7", ["7", "R"])
    assert sorted(EventKey.objects.filter(event=event).values_list("key", flat=True)) == ["7", "R"]


def test_event_without_a_key_is_uncorrelated_and_has_no_deliveries(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant, workflow_correlation_key=None, payload={"text": "hi"})
    assert event_route(event.id) == []
    event.refresh_from_db()
    assert (event.outcome, event.correlation_status) == ("uncorrelated", "missing")
    assert "no correlation path is configured" in event.correlation_reason
    assert not EventDelivery.objects.filter(event=event).exists()


def test_routing_creates_a_delivery_for_each_candidate_and_ignores_filters(tenant: Any) -> None:
    waits = [open_wait(tenant), open_wait(tenant, filters=[{"path": "x", "op": "=", "value": 1}])]
    open_wait(tenant, key="T-2")
    open_wait(tenant, name="OTHER")
    open_wait(make_tenant())
    open_wait(tenant, status="CANCELED")
    open_wait(tenant, run=make_run(tenant, engine="db"))
    event = receive(tenant)
    assert len(event_route(event.id)) == 2
    assert set(EventDelivery.objects.filter(event=event).values_list("wait_id", flat=True)) == {
        wait.id for wait in waits
    }
    event.refresh_from_db()
    assert (event.outcome, len(event.decision_trace["waits"])) == ("routing", 2)
    assert len(event_route(event.id)) == 2
    assert EventDelivery.objects.filter(event=event).count() == 2


def test_event_is_no_candidate_for_the_run_that_it_started(tenant: Any) -> None:
    event = receive(tenant)
    open_wait(tenant, run=make_run(tenant, event=event))
    assert event_route(event.id) == []


def test_trigger_is_a_target_of_an_event_without_a_key(tenant: Any) -> None:
    publish(
        tenant,
        {"id": "s", "type": "state.set", "config": {"state": "X"}},
        trigger={"type": "event", "eventName": "REPLIED"},
    )
    event = receive(tenant, workflow_correlation_key=None, payload={})
    (delivery_id,) = event_route(event.id)
    assert EventDelivery.objects.get(id=delivery_id).definition.key == "flow"


def test_trace_of_an_event_without_target_has_near_misses(tenant: Any) -> None:
    wait = open_wait(tenant, key="T-2")
    event = receive(tenant)
    event_route(event.id)
    event.refresh_from_db()
    assert (event.outcome, event.decision_trace["nearMisses"][0]["waitId"]) == ("buffered", str(wait.id))


def test_key_that_only_looks_alike_is_a_near_miss_beside_many_newer_waits(tenant: Any) -> None:
    first = open_wait(tenant, key="TCK-4471")
    for number in range(4472, 4472 + near_misses.READ_WAITS):
        open_wait(tenant, key=f"TCK-{number}")
    event = receive(tenant, workflow_correlation_key="TCK-447l")
    event_route(event.id)
    event.refresh_from_db()
    assert event.decision_trace["nearMisses"][0]["waitId"] == str(first.id)


def test_waits_that_close_later_leave_an_open_wait_among_the_near_misses(tenant: Any) -> None:
    waits = [open_wait(tenant, key=f"TCK-447{number}") for number in range(2, 8)]
    event = receive(tenant, workflow_correlation_key="TCK-447l")
    event_route(event.id)
    event.refresh_from_db()
    stored = {near["waitId"] for near in event.decision_trace["nearMisses"]}
    assert stored == {str(wait.id) for wait in waits}


def test_wait_that_opens_finds_an_event_within_the_buffer_time(tenant: Any) -> None:
    event = receive(tenant)
    event_route(event.id)
    wait = open_wait(tenant)
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(wait.id)) == 1
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(wait.id)) == 1  # one delivery per wait and event
    assert EventDelivery.objects.filter(event=event, wait=wait).count() == 1


def test_wait_takes_an_older_event_before_one_that_is_routed_now(tenant: Any) -> None:
    wait = open_wait(tenant)
    first, second, third = [receive(tenant, event_id=name) for name in ("first", "second", "third")]
    event_route(first.id)
    event_route(second.id)  # the first event is on its way, so the second stays in the database
    EventDelivery.objects.filter(wait=wait).update(status="filtered")  # before the search after this verdict
    event_route(third.id)
    sent = EventDelivery.objects.filter(wait=wait, status="pending").order_by("event__received_at")
    assert list(sent.values_list("event__event_id", flat=True)) == ["second", "third"]
    second.refresh_from_db()
    assert second.outcome == "routing"


def test_batch_gives_a_wait_its_oldest_event(tenant: Any) -> None:
    wait = open_wait(tenant)
    first, second = [receive(tenant, event_id=name) for name in ("first", "second")]
    Event.objects.filter(id=first.id).update(route_at=second.route_at + timedelta(microseconds=1))  # its routing failed
    events_route_due(tenant_id=tenant.id)
    assert [delivery.event_id for delivery in EventDelivery.objects.filter(wait=wait)] == [first.id]


def test_wait_does_not_find_an_event_after_the_buffer_time(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="REPLIED", buffer_seconds=0.001)
    event = receive(tenant)
    event_route(event.id)
    wait = open_wait(tenant, opened_at=event.received_at + timedelta(hours=1))
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(wait.id)) == 0


def test_wait_finds_an_event_that_was_late_for_the_previous_wait_of_the_run(tenant: Any) -> None:
    run = make_run(tenant)
    first = open_wait(tenant, run=run)
    event = receive(tenant)
    event_route(event.id)
    long_ago = timezone.now() - timedelta(hours=3)
    Event.objects.filter(id=event.id).update(received_at=long_ago, routed_at=long_ago)
    EventDelivery.objects.filter(event=event, wait=first).update(status="late")
    with projection_writer("test"):
        RunWait.objects.filter(id=first.id).update(status="RESOLVED", resolved_at=timezone.now())
    second = open_wait(tenant, run=run)
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(second.id)) == 1


def test_buffer_time_starts_when_the_event_is_routed(tenant: Any) -> None:
    event = receive(tenant)
    Event.objects.filter(id=event.id).update(received_at=timezone.now() - timedelta(hours=2))
    EventKey.objects.filter(event=event).update(received_at=timezone.now() - timedelta(hours=2))
    event_route(event.id)
    wait = open_wait(tenant)
    assert wait_look_for_events(tenant_id=str(tenant.id), wait_id=str(wait.id)) == 1


def test_celery_entry_point_requires_a_tenant(tenant: Any) -> None:
    receipt = consume_event({**REPLY, "tenant": tenant.slug, "event_id": "c-1"})
    assert receipt["duplicate"] is False
    assert Event.objects.get(tenant=tenant).source == "celery"
    for value, error in (
        ({**REPLY, "tenant": "nobody"}, NotFound),
        (REPLY, NotFound),
        ({"tenant": tenant.slug}, InputInvalid),
    ):
        with pytest.raises(error):
            consume_event(value)
    assert Event.objects.filter(tenant=tenant).count() == 1


def test_event_is_found_by_both_ids(tenant: Any) -> None:
    api, event = Api(make_token(tenant)), receive(tenant, event_id="by-name")
    assert api.get(f"/events/{event.id}").json()["event_id"] == "by-name"
    assert api.get("/events/by-name").json()["id"] == str(event.id)
    assert error_of(Api(make_token(make_tenant())).get("/events/by-name"), 404)["code"] == "EVENT_NOT_FOUND"
