"""Dead-letter inbox: redeliver or discard deliveries, with a dry run and one command per delivery.

Source: docs/reference/events.md#statuses-and-outcomes
"""

import re
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone

from ingress.dead_letters import services
from ingress.dead_letters.services import deliveries_discard, deliveries_redeliver
from ingress.dispatch.delivery import due_deliveries
from ingress.dispatch.routing import event_route
from tests.support.api import Api, error_of
from tests.support.events import open_wait, receive
from tests.support.factories import make_actor, make_run, make_tenant, make_token, publish
from tests.support.members import member_of
from tests.support.own_sweep import sweep_only
from tests.support.row_counts import row_counts
from tests.support.statements import sent_statements
from tests.support.triggers import STATE, TRIGGER
from workflows.errors import Conflict, InputInvalid, PermissionRefused
from workflows.event_outcomes import deliveries_changing
from workflows.ledger import command_resolve_unknown
from workflows.models import Command, Definition, Event, EventDelivery, OutboxEvent, RunWait
from workflows.projections.transaction import projection_writer
from workflows.services import command_reconcile
from workflows.statuses import CommandState, Role
from workflows.tenancy import system_scope

pytestmark = pytest.mark.usefixtures("no_dispatcher")


@pytest.fixture
def notified(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list of tenants whose dispatcher was notified."""
    tenants: list[Any] = []
    monkeypatch.setattr(services, "notify_dispatcher_on_commit", tenants.append)
    return tenants


def dead(tenant: Any, **fields: Any) -> EventDelivery:
    """Create a dead delivery to an open wait. Each one has another key."""
    key = uuid.uuid4().hex[:8]
    open_wait(tenant, key=key, **fields)
    event = receive(tenant, workflow_correlation_key=key)
    event_route(event.id)
    return killed(event)


def killed(event: Event) -> EventDelivery:
    with deliveries_changing(Event.objects.filter(id=event.id)):
        attempt = {"at": timezone.now().isoformat(), "attempt": 12, "outcome": "failed", "reason": "the value is 4711"}
        EventDelivery.objects.filter(event=event).update(
            status="dead",
            reason="the value is 4711",
            attempts=12,
            failures=12,
            attempt_log=[attempt],
            decided_at=timezone.now(),
        )
    return EventDelivery.objects.get(event=event)


def result_of(response: dict[str, Any]) -> dict[str, Any]:
    (result,) = response["results"]
    return result


# -- Redeliver --------------------------------------------------------------------------------------------------------


def test_redelivered_delivery_is_pending_and_keeps_its_attempts(tenant: Any, notified: list[Any]) -> None:
    delivery = dead(tenant)
    actor = make_actor(tenant, Role.OPERATOR, "mei")
    response = deliveries_redeliver(actor=actor, delivery_ids=[delivery.id], reason="Temporal is back")
    assert response["counts"] == {"redelivered": 1}
    delivery.refresh_from_db()
    assert (delivery.status, delivery.failures, delivery.attempts, delivery.decided_at) == ("pending", 0, 12, None)
    assert [entry["outcome"] for entry in delivery.attempt_log] == ["failed", "redelivered"]
    assert delivery.attempt_log[1]["reason"] == "redelivered by mei: Temporal is back"
    assert due_deliveries(id=delivery.id).exists()
    assert notified == [tenant.id]
    delivery.event.refresh_from_db()
    assert delivery.event.outcome == "routing"
    command = Command.objects.get(tenant=tenant, action="redeliver")
    assert (command.target_type, command.target_id, command.state, command.reason, command.run_id) == (
        "delivery", str(delivery.id), "observed", "Temporal is back", delivery.run_id,
    )  # fmt: skip
    assert result_of(response)["command_id"] == str(command.id)


def test_only_dead_deliveries_are_changed_and_each_has_a_result(tenant: Any, notified: list[Any]) -> None:
    one, foreign, unknown = dead(tenant), dead(make_tenant()), uuid.uuid4()
    done = dead(tenant)
    EventDelivery.objects.filter(id=done.id).update(status="matched")
    response = deliveries_redeliver(
        actor=make_actor(tenant), delivery_ids=[done.id, one.id, foreign.id, unknown, one.id]
    )
    assert [(item["result"], item["code"]) for item in response["results"]] == [
        ("refused", "DELIVERY_NOT_DEAD"),
        ("redelivered", None),
        ("refused", "DELIVERY_NOT_FOUND"),
        ("refused", "DELIVERY_NOT_FOUND"),
    ]
    assert response["counts"] == {"refused": 3, "DELIVERY_NOT_DEAD": 1, "DELIVERY_NOT_FOUND": 2, "redelivered": 1}
    assert EventDelivery.objects.get(id=foreign.id).status == "dead"
    states = dict(Command.objects.filter(tenant=tenant, action="redeliver").values_list("target_id", "state"))
    assert states == {str(one.id): "observed", str(done.id): "refused"}
    assert not Command.objects.filter(tenant=foreign.tenant, action="redeliver").exists()


def test_dry_run_returns_forecasts_and_writes_nothing(tenant: Any, notified: list[Any]) -> None:
    fine = dead(tenant)
    ended = dead(tenant, run=make_run(tenant, status="FAILED"))
    filtered = dead(tenant, filters=[{"path": "x", "op": "exists"}])
    closed = dead(tenant)
    with projection_writer("test"):
        RunWait.objects.filter(id=closed.wait_id).update(status="TIMED_OUT")
    paused = publish(tenant, STATE, trigger={**TRIGGER, "eventName": "PAID"}).definition
    paused.is_paused = True
    paused.save()
    event = receive(tenant, event_type="PAID")
    event_route(event.id)
    trigger = killed(event)
    before = row_counts(tenant)
    ids = [fine.id, ended.id, filtered.id, closed.id, trigger.id, uuid.uuid4()]
    response = deliveries_redeliver(actor=make_actor(tenant), delivery_ids=ids, dry_run=True)
    results = [(item["result"], item.get("forecast", {}).get("status")) for item in response["results"]]
    assert results == [
        ("would_redeliver", "matched"), ("would_redeliver", "late"), ("would_redeliver", "filtered"),
        ("would_redeliver", "late"), ("would_redeliver", "pending"), ("refused", None),
    ]  # fmt: skip
    assert response["counts"] == {
        "would_redeliver": 5, "refused": 1, "DELIVERY_NOT_FOUND": 1, "forecast_matched": 1, "forecast_late": 2,
        "forecast_filtered": 1, "forecast_pending": 1,
    }  # fmt: skip
    assert "the run has ended: failed" in response["results"][1]["forecast"]["why"]
    assert row_counts(tenant) == before
    assert set(EventDelivery.objects.filter(id__in=ids).values_list("status", flat=True)) == {"dead"}
    assert notified == []


# -- Discard ----------------------------------------------------------------------------------------------------------


def test_discarded_delivery_has_the_reason(tenant: Any, notified: list[Any]) -> None:
    delivery = dead(tenant)
    actor = make_actor(tenant, Role.OPERATOR, "mei")
    assert deliveries_discard(actor=actor, delivery_ids=[delivery.id], reason=" a test ")["counts"] == {"discarded": 1}
    delivery.refresh_from_db()
    assert (delivery.status, delivery.reason) == ("discarded", "discarded by mei: a test")
    assert delivery.decided_at is not None
    delivery.event.refresh_from_db()
    assert delivery.event.outcome == "discarded"
    assert Command.objects.get(tenant=tenant, action="discard").reason == "a test"
    assert notified == []
    again = deliveries_redeliver(actor=actor, delivery_ids=[delivery.id])
    assert result_of(again)["code"] == "DELIVERY_NOT_DEAD"


@pytest.mark.parametrize("reason", ["", "  "])
def test_discarding_requires_a_reason(tenant: Any, reason: str) -> None:
    with pytest.raises(InputInvalid):
        deliveries_discard(actor=make_actor(tenant), delivery_ids=[uuid.uuid4()], reason=reason)


# -- Both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda actor, ids: deliveries_redeliver(actor=actor, delivery_ids=ids),
        lambda actor, ids: deliveries_discard(actor=actor, delivery_ids=ids, reason="x"),
    ],
    ids=["redeliver", "discard"],
)
def test_viewer_is_refused_and_the_attempt_is_recorded(tenant: Any, change: Callable[..., Any]) -> None:
    delivery = dead(tenant)
    with pytest.raises(PermissionRefused):
        change(make_actor(tenant, Role.VIEWER), [delivery.id])
    delivery.refresh_from_db()
    assert delivery.status == "dead"
    command = Command.objects.get(tenant=tenant, target_id=str(delivery.id))
    assert (command.state, command.code) == ("refused", "PERMISSION_DENIED")


@pytest.mark.parametrize("count", [0, 501])
def test_number_of_deliveries_per_request_is_limited(tenant: Any, count: int) -> None:
    with pytest.raises(InputInvalid) as raised:
        deliveries_redeliver(actor=make_actor(tenant), delivery_ids=[uuid.uuid4() for _ in range(count)])
    assert raised.value.code == "DELIVERIES_COUNT_INVALID"


def test_error_leaves_a_failed_command_in_the_ledger(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = dead(tenant)

    def failing(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(services, "update_rows", failing)
    with pytest.raises(RuntimeError):
        deliveries_redeliver(actor=make_actor(tenant), delivery_ids=[delivery.id])
    assert EventDelivery.objects.get(id=delivery.id).status == "dead"
    assert Command.objects.get(tenant=tenant, target_id=str(delivery.id)).state == "failed"


class Killed(BaseException):
    """Simulated end of the process. Production code does not catch it."""


@pytest.fixture
def reconcile(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return the reconciler of commands, without the time for which it waits."""
    monkeypatch.setattr(command_reconcile, "ABANDONED_AFTER", timedelta(0))
    sweep_only(tenant, monkeypatch)

    def run() -> None:
        command_reconcile.commands_reconcile(stop_at=time.monotonic() + 60)

    return run


@pytest.mark.parametrize("place", ["_change", "update_rows", "_finish_commands", "_result"])
def test_killed_process_has_changed_nothing_and_the_reconciler_records_it(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, reconcile: Callable[[], None], place: str
) -> None:
    delivery, other, actor = dead(tenant), dead(tenant), make_actor(tenant)
    request = {"actor": actor, "delivery_ids": [delivery.id, other.id], "idempotency_key": f"k-{delivery.id}"}

    def killed_there(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(services, place, killed_there)
        with pytest.raises(Killed):
            deliveries_redeliver(**request)
    assert statuses_of(tenant) == {"dead"}
    assert states_of(tenant) == ["requested"] * 3
    reconcile()
    assert statuses_of(tenant) == {"dead"}
    assert states_of(tenant) == ["failed"] * 3
    command = Command.objects.get(tenant=tenant, target_id=str(delivery.id))
    assert (command.code, "nothing was changed" in command.message) == ("NOT_CARRIED_OUT", True)
    with pytest.raises(Conflict, match="nothing was changed"):
        deliveries_redeliver(**request)


def test_process_killed_after_the_commit_has_recorded_everything(
    tenant: Any, notified: list[Any], reconcile: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery, actor = dead(tenant), make_actor(tenant)
    request = {"actor": actor, "delivery_ids": [delivery.id], "idempotency_key": f"k-{delivery.id}"}

    def killed_after_the_commit(*_: Any) -> None:
        transaction.on_commit(lambda: (_ for _ in ()).throw(Killed))

    monkeypatch.setattr(services, "notify_dispatcher_on_commit", killed_after_the_commit)
    with pytest.raises(Killed):
        deliveries_redeliver(**request)
    reconcile()
    assert (statuses_of(tenant), states_of(tenant)) == ({"pending"}, ["observed"] * 2)
    assert deliveries_redeliver(**request)["counts"] == {"redelivered": 1}


def test_request_that_the_reconciler_gave_up_is_not_carried_out_later(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was suspended for minutes continues."""
    delivery, actor = dead(tenant), make_actor(tenant)
    change = services._change

    def slow(*given: Any) -> Any:
        statuses = change(*given)
        command = Command.objects.get(tenant=tenant, target_id=str(delivery.id))
        elsewhere(lambda: command_resolve_unknown(command, CommandState.FAILED, message="given up"))
        return statuses

    monkeypatch.setattr(services, "_change", slow)
    with pytest.raises(Conflict, match="given up"):
        deliveries_redeliver(actor=actor, delivery_ids=[delivery.id])
    assert (statuses_of(tenant), states_of(tenant)) == ({"dead"}, ["failed"])


def elsewhere(work: Callable[[], Any]) -> None:
    """Run the work in another thread with another database connection."""

    def run() -> None:
        try:
            with system_scope():
                work()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def statuses_of(tenant: Any) -> set[str]:
    return set(EventDelivery.objects.filter(tenant=tenant).values_list("status", flat=True))


def states_of(tenant: Any) -> list[str]:
    return list(Command.objects.filter(tenant=tenant, action="redeliver").values_list("state", flat=True))


def test_repeated_request_is_refused(tenant: Any, notified: list[Any]) -> None:
    delivery, actor = dead(tenant), make_actor(tenant)
    responses = [deliveries_redeliver(actor=actor, delivery_ids=[delivery.id]) for _ in range(2)]
    assert [result_of(response)["result"] for response in responses] == ["redelivered", "refused"]
    assert notified == [tenant.id]


# -- API and pages ----------------------------------------------------------------------------------------------------


def test_deliveries_are_listed_and_filtered(tenant: Any) -> None:
    one, other = dead(tenant), dead(tenant)
    EventDelivery.objects.filter(id=other.id).update(status="matched")
    dead(make_tenant())
    publish(tenant, STATE, trigger={**TRIGGER, "eventName": "PAID"})
    (started,) = event_route(receive(tenant, event_type="PAID").id)
    api, viewer = Api(make_token(tenant)), Api(make_token(tenant, Role.VIEWER))

    def ids(query: str) -> set[str]:
        return {row["id"] for row in api.get(f"/deliveries?{query}").json()["results"]}

    everything = {str(pk) for pk in EventDelivery.objects.filter(tenant=tenant).values_list("id", flat=True)}
    assert ids("") == everything
    assert ids("status=dead") == {str(one.id)}
    assert ids(f"event_id={one.event.event_id}") == {str(one.id)}
    assert ids(f"run={one.run_id}&status=dead&status=matched") == {str(one.id)}
    assert ids("definition=flow") == ids("kind=trigger") == {str(started)}
    assert len(api.get("/deliveries?page_size=1").json()["results"]) == 1
    shown = api.get(f"/deliveries/{one.id}").json()
    assert (shown["event"], shown["event_type"], shown["reason"]) == (str(one.event_id), "REPLIED", "the value is 4711")
    assert "4711" not in viewer.get(f"/deliveries/{one.id}").content.decode()
    assert error_of(Api(make_token(make_tenant())).get(f"/deliveries/{one.id}"), 404)["code"] == "NOT_FOUND"


def test_api_redelivers_and_discards(tenant: Any, notified: list[Any]) -> None:
    one, two = dead(tenant), dead(tenant)
    api, viewer = Api(make_token(tenant)), Api(make_token(tenant, Role.VIEWER))
    dry = api.post("/deliveries/redeliver", {"ids": [str(one.id)], "dry_run": True})
    assert (dry.status_code, dry.json()["dry_run"], dry.json()["counts"]["would_redeliver"]) == (200, True, 1)
    done = api.post("/deliveries/redeliver", {"ids": [str(one.id)]}).json()
    assert done["counts"] == {"redelivered": 1}
    assert api.post("/deliveries/discard", {"ids": [str(two.id)], "reason": "x"}).json()["counts"] == {"discarded": 1}
    assert error_of(api.post("/deliveries/discard", {"ids": [str(two.id)]}), 400)["code"] == "VALIDATION_ERROR"
    assert error_of(api.post("/deliveries/redeliver", {"ids": ["x"]}), 400)["code"] == "VALIDATION_ERROR"
    for body in ({"ids": [str(one.id)]}, {"ids": [str(one.id)], "dry_run": True}):
        assert error_of(viewer.post("/deliveries/redeliver", body), 403)["code"] == "PERMISSION_DENIED"


def test_repeat_with_an_idempotency_key_returns_the_first_response(tenant: Any, notified: list[Any]) -> None:
    delivery, api = dead(tenant), Api(make_token(tenant))
    key = {"Idempotency-Key": f"k-{delivery.id}"}
    body = {"ids": [str(delivery.id), str(uuid.uuid4())]}
    first = api.post("/deliveries/redeliver", body, **key)
    again = api.post("/deliveries/redeliver", body, **key)
    assert (first.json()["counts"]["redelivered"], again.json()) == (1, first.json())
    assert notified == [tenant.id]
    other = api.post("/deliveries/redeliver", {"ids": [str(uuid.uuid4())]}, **key)
    assert error_of(other, 409)["code"] == "IDEMPOTENCY_KEY_REUSED"


LIST = "admin:workflows_eventdelivery_changelist"


def test_inbox_shows_and_counts_dead_deliveries(tenant: Any) -> None:
    one, other = dead(tenant), dead(tenant)
    EventDelivery.objects.filter(event=other.event_id).update(status="matched")
    client = member_of(tenant)
    page = client.get(reverse(LIST)).content.decode()
    assert one.event.event_id in page
    assert other.event.event_id not in page
    assert "value is 4711" in page
    assert re.search(r"Dead\s*<b>1</b>", page)
    assert other.event.event_id in client.get(reverse(LIST), {"status": "all"}).content.decode()
    assert one.event.event_id not in member_of(make_tenant()).get(reverse(LIST)).content.decode()
    viewer = member_of(tenant, role="viewer").get(reverse(LIST)).content.decode()
    assert "4711" not in viewer
    assert "redeliver_many" not in viewer


def test_inbox_keeps_its_filters_and_needs_few_statements(tenant: Any) -> None:
    rows = [dead(tenant) for _ in range(3)]
    EventDelivery.objects.filter(id=rows[2].id).update(status="pending", held_since=timezone.now(), reason="paused")
    client = member_of(tenant)
    with sent_statements() as statements:
        shown = client.get(reverse(LIST))
    assert len(statements) <= 12, statements
    assert [row["delivery"].id for row in shown.context["rows"]] == [rows[1].id, rows[0].id]
    held = client.get(reverse(LIST), {"status": "held"})
    assert [row["delivery"].id for row in held.context["rows"]] == [rows[2].id]
    assert re.search(r'class="pill c-amber "><svg.*?</svg>On hold', held.content.decode(), re.DOTALL)
    key = Definition.objects.filter(tenant=tenant).values_list("key", flat=True)[0]
    query = f"?status=all&definition={key}&created_at_from_0=2020-01-01&q={rows[0].event.event_id}"
    listed = client.get(f"{reverse(LIST)}{query}")
    labels = {token["label"]: token["without"] for token in listed.context["tokens"]}
    assert set(labels) == {"Definition", "Search", "Created from"}
    assert "created_at_from" not in labels["Created from"]
    assert "status=all" in labels["Search"]


def test_many_deliveries_are_redelivered_after_a_confirmation(tenant: Any, notified: list[Any]) -> None:
    delivery = dead(tenant)
    client = member_of(tenant)
    chosen = {"action": "redeliver_many", "_selected_action": [str(delivery.id)]}
    page = client.post(reverse(LIST), chosen).content.decode()
    assert "Redeliver 1 delivery?" in page
    assert "the wait has no filters" in page
    assert EventDelivery.objects.get(id=delivery.id).status == "dead"
    done = client.post(reverse(LIST), {**chosen, "confirmed": "yes", "reason": ""}).content.decode()
    assert "1 of 1 done" in done
    assert EventDelivery.objects.get(id=delivery.id).status == "pending"
    late = client.post(reverse(LIST), {**chosen, "confirmed": "yes", "reason": ""}).content.decode()
    assert "DELIVERY_NOT_DEAD" in late


def test_many_deliveries_are_discarded_only_with_a_reason(tenant: Any) -> None:
    delivery = dead(tenant)
    client = member_of(tenant)
    chosen = {"action": "discard_many", "_selected_action": [str(delivery.id)], "confirmed": "yes"}
    assert "This field is required" in client.post(reverse(LIST), {**chosen, "reason": ""}).content.decode()
    assert "1 of 1 done</h1>" in client.post(reverse(LIST), {**chosen, "reason": "x"}).content.decode()
    assert EventDelivery.objects.get(id=delivery.id).status == "discarded"
    others = [str(dead(tenant).id) for _ in range(2)]
    chosen["_selected_action"] = [others[0], str(delivery.id), others[1]]
    shown = client.post(reverse(LIST), {**chosen, "reason": "x"}).content.decode()
    assert "2 of 3 done, 1 refused</h1>" in shown
    places = [shown.index(f"#delivery-{one}") for one in (delivery.id, *others)]
    assert places[0] == min(places), "the refused delivery is not the first row"


@pytest.mark.parametrize(("action", "status"), [("redeliver", "pending"), ("discard", "discarded")])
def test_one_delivery_is_changed_after_a_confirmation(
    tenant: Any, notified: list[Any], action: str, status: str
) -> None:
    delivery = dead(tenant)
    address = reverse(f"admin:workflows_eventdelivery_{action}", args=[delivery.id])
    client, viewer, stranger = member_of(tenant), member_of(tenant, role="viewer"), member_of(make_tenant())
    assert b"own row in the command ledger" in client.get(address).content
    assert stranger.get(address).status_code == stranger.post(address, {"reason": "x"}).status_code == 404
    refused = viewer.post(address, {"reason": "x"}, follow=True).content.decode()
    assert "PERMISSION_DENIED" in refused
    assert EventDelivery.objects.get(id=delivery.id).status == "dead"
    page = client.post(address, {"reason": "x"}, follow=True).content.decode()
    assert "The delivery is" in page
    assert EventDelivery.objects.get(id=delivery.id).status == status


def test_delivery_link_leads_to_the_event_page_and_editing_is_refused(tenant: Any) -> None:
    delivery = dead(tenant)
    client = member_of(tenant, role="admin")
    change = reverse("admin:workflows_eventdelivery_change", args=[delivery.id])
    assert client.get(change).url == (
        reverse("admin:workflows_event_change", args=[delivery.event_id]) + f"#delivery-{delivery.id}"
    )
    assert client.get(reverse("admin:workflows_eventdelivery_add")).status_code == 403
    client.post(change, {"status": "matched"})
    assert EventDelivery.objects.get(id=delivery.id).status == "dead"
    assert member_of(make_tenant()).get(change).status_code == 404


def test_inbox_shows_refused_outbox_rows(tenant: Any) -> None:
    row = {"event_type": "E", "event_id": "out-1", "payload": {}}
    OutboxEvent.objects.create(
        tenant=tenant, envelope=row, sender="billing", refused_at=timezone.now(), reason="EVENT_ID_CONFLICT: 4711"
    )
    OutboxEvent.objects.create(tenant=tenant, envelope={**row, "event_id": "out-2"}, sender="billing")
    page = member_of(tenant).get(reverse(LIST)).content.decode()
    assert "out-1" in page
    assert "out-2" not in page
    assert "EVENT_ID_CONFLICT: 4711" in page
    assert "4711" not in member_of(tenant, role="viewer").get(reverse(LIST)).content.decode()
    assert "out-1" not in member_of(make_tenant()).get(reverse(LIST)).content.decode()
