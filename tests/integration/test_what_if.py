"""What would happen: the same code answers, and the database itself sees to it that nothing is written (docs/reference/events.md#what-if)."""

import json
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ingress.dispatch.routing import event_route
from ingress.explain.read_only import reading_only
from ingress.explain.what_if import event_what_if
from ingress.explain.what_if_correlation import correlation_what_if
from tests.support.api import Api, error_of
from tests.support.events import REPLY, open_wait, receive
from tests.support.factories import expr, make_run, make_tenant, make_token, publish
from tests.support.members import member_of
from tests.support.triggers import STATE, TRIGGER, rows_of
from workflows.errors import InputInvalid
from workflows.models import Definition, Event, EventDelivery, EventType, HumanTask, PayloadSchema, RunWait
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("unheard")


def asked(tenant: Any, **value: Any) -> dict[str, Any]:
    """The answer; the rows of every table are the same before and after."""
    before = rows_of(tenant)
    told = event_what_if(tenant_id=tenant.id, value={**REPLY, **value})
    assert rows_of(tenant) == before
    return told


def forecasts(told: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(target["forecast"]["status"], target["forecast"]["why"]) for target in told[kind]]


# -- Nothing is written -------------------------------------------------------------------------------------------------


def test_the_database_refuses_every_write(tenant: Any) -> None:
    with pytest.raises(DatabaseError, match="read-only transaction"), reading_only():
        receive(tenant)
    with pytest.raises(DatabaseError, match="read-only transaction"), reading_only():
        Event.objects.select_for_update().filter(tenant=tenant).exists()
    assert not Event.objects.filter(tenant=tenant).exists()
    receive(tenant)  # and it is over with its block


def test_it_must_be_the_outermost_transaction(tenant: Any) -> None:
    with pytest.raises(RuntimeError), transaction.atomic(), reading_only():
        pass


def test_a_write_on_the_way_is_refused_by_the_database(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.explain import what_if

    real = what_if.plan_event_routes

    def writing(events: list[Event]) -> Any:
        EventType.objects.create(tenant=tenant, name="SMUGGLED")
        return real(events)

    monkeypatch.setattr(what_if, "plan_event_routes", writing)
    with pytest.raises(DatabaseError, match="read-only transaction"):
        event_what_if(tenant_id=tenant.id, value=REPLY)


# -- One event ----------------------------------------------------------------------------------------------------------


def test_the_forecast_is_what_then_happens(tenant: Any) -> None:
    waits = [open_wait(tenant), open_wait(tenant)]
    open_wait(make_tenant())
    publish(tenant, STATE, trigger=TRIGGER)
    told = asked(tenant)
    event = receive(tenant)
    event_route(event.id)
    event.refresh_from_db()
    made = EventDelivery.objects.filter(event=event)
    assert {wait["wait_id"] for wait in told["waits"]} == {wait.id for wait in waits}
    assert {wait["wait_id"] for wait in told["waits"]} == set(
        made.filter(kind="wait").values_list("wait_id", flat=True)
    )
    assert [trigger["definition"] for trigger in told["triggers"]] == ["flow"]
    assert told["correlation"]["tried"] == event.correlation_trace
    assert told["outcome"]["status"] == "delivered"
    assert "It would start flow@1." in told["summary"]


def test_filters_are_a_forecast_in_the_engines_own_words(tenant: Any) -> None:
    open_wait(tenant, filters=[{"path": "ticketId", "op": "=", "value": "T-1"}])
    open_wait(tenant, filters=[{"path": "amount", "op": ">", "value": 5}])
    told = asked(tenant, payload={"ticketId": "T-1", "amount": 3})
    assert sorted(forecasts(told, "waits")) == [
        ("filtered", "the filter amount > 5 does not match: the value is 3"),
        ("matched", "every filter holds"),
    ]
    assert "if the workflow agrees" in told["summary"]


def test_a_person_that_is_waited_for_has_a_form(tenant: Any) -> None:
    wait = open_wait(tenant, kind="human")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    HumanTask.objects.create(id=wait.id, tenant=tenant, run=wait.run, step_path="x", title="t", form_schema=schema)
    ((status, why),) = forecasts(asked(tenant, payload={"ok": "yes"}), "waits")
    assert (status, why.split(":")[0]) == ("filtered", "the response does not fit the task's form")
    assert forecasts(asked(tenant, payload={"ok": True}), "waits") == [("matched", "the response fits the task's form")]


def test_near_misses_and_the_time_that_is_left(tenant: Any) -> None:
    wait = open_wait(tenant, key="T-2")
    told = asked(tenant)
    assert [near["wait_id"] for near in told["near_misses"]] == [str(wait.id)]
    assert (told["outcome"]["status"], told["buffer_seconds"]) == ("buffered", 60)
    assert told["summary"].endswith(
        f"Run {wait.run_id} of {wait.run.definition_key} waits for it under T-2. A wait that opens within 1 min of it would "
        "find it."
    )


def test_a_trigger_that_is_paused_or_whose_mapping_or_payload_is_wrong(tenant: Any) -> None:
    PayloadSchema.objects.create(
        tenant=tenant, ref="payload.Paid.v1", schema={"type": "object", "required": ["amount"]}
    )
    paused = publish(tenant, STATE, key="a-paused", trigger=TRIGGER).definition
    paused.is_paused, paused.paused_reason = True, "a holiday"
    paused.save()
    publish(tenant, STATE, key="b-mapping", trigger={**TRIGGER, "payloadMapping": {"x": expr("event.payload.missing")}})
    publish(tenant, STATE, key="c-schema", trigger=TRIGGER, payloadSchemaRef="payload.Paid.v1")
    publish(tenant, STATE, key="d-fine", trigger={**TRIGGER, "payloadMapping": {"id": expr("event.payload.ticketId")}})
    told = asked(tenant)
    (first, second, third, fourth) = forecasts(told, "triggers")
    assert first == ("skipped", "it is paused: a holiday")
    assert (second[0], second[1].partition(":")[0]) == ("skipped", "the payload mapping failed")
    assert (third[0], third[1].partition(":")[0]) == ("skipped", "the payload does not fit payload.Paid.v1")
    assert fourth[0] == "started"
    assert told["triggers"][3]["input"] == {"id": "T-1"}


def test_a_limit_that_is_reached_is_told_with_its_counts(tenant: Any) -> None:
    version = publish(tenant, STATE, trigger=TRIGGER)
    version.definition.concurrency_limit = 2
    version.definition.save()
    make_run(tenant, definition_version=version)
    assert asked(tenant)["triggers"][0]["limit"] == {"limit": 2, "open_runs": 1, "waiting": 0}
    make_run(tenant, definition_version=version)
    make_run(tenant, definition_version=version, status="SUCCEEDED")
    told = asked(tenant)
    assert forecasts(told, "triggers") == [("pending", "2 of 2 slots are used by open runs")]
    assert told["outcome"]["status"] == "routing"


def test_a_repeat_and_another_body_under_a_used_id(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant, event_id="e-1")
    repeat = asked(tenant, event_id="e-1")
    assert (repeat["answer"]["status"], repeat["first"]["id"], repeat["waits"]) == (200, event.id, [])
    assert repeat["summary"].startswith("Nothing would happen: it repeats the event that came at")
    other = asked(tenant, event_id="e-1", payload={"x": 1})
    assert (other["answer"]["status"], other["answer"]["code"]) == (409, "EVENT_ID_CONFLICT")


def test_what_no_door_takes_is_told_with_every_problem(tenant: Any) -> None:
    told = event_what_if(tenant_id=tenant.id, value={"payload": 1, "tenant": "x"})
    assert (told["answer"]["status"], told["answer"]["code"]) == (400, "EVENT_INVALID")
    assert {problem["path"] for problem in told["answer"]["details"]["problems"]} == {"tenant", "event_type", "payload"}


def test_a_payload_that_fails_the_catalogues_schema(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="r.v1", schema={"type": "object", "required": ["amount"]})
    EventType.objects.create(tenant=tenant, name="REPLIED", payload_schema_ref="r.v1")
    open_wait(tenant)
    told = asked(tenant)
    assert (told["answer"]["code"], told["outcome"]["status"], told["waits"]) == (
        "EVENT_PAYLOAD_INVALID",
        "rejected",
        [],
    )
    assert told["schema"]["problems"]


# -- Other correlation paths --------------------------------------------------------------------------------------------


def test_other_paths_are_tried_on_events_that_came_in(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["ref"])
    free = {"event_type": "PAID", "workflow_correlation_key": None}
    same = receive(tenant, event_type="PAID", payload={"ref": "S"})  # its key was sent with it
    changed = receive(tenant, payload={"ref": "A", "invoice": {"id": 7}}, **free)
    gained = receive(tenant, payload={"invoice": {"id": 8}}, **free)
    lost = receive(tenant, payload={"ref": "B"}, **free)
    open_wait(tenant, key="7", name="PAID")
    open_wait(tenant, key="8", name="PAID")
    open_wait(tenant, key="8", name="OTHER")
    before = rows_of(tenant)
    told = correlation_what_if(tenant_id=tenant.id, paths={"PAID": "payload.invoice.id"})
    assert rows_of(tenant) == before
    assert told["counts"] == {"same": 1, "changed": 1, "gained": 1, "lost": 1}
    assert (told["looked_at"], told["open_waits"], told["has_more_changes"]) == (4, 2, False)
    found = {change["id"]: (change["change"], change["before"], change["after"]) for change in told["changes"]}
    assert found == {
        changed.id: ("changed", ["A"], ["7"]),
        gained.id: ("gained", [], ["8"]),
        lost.id: ("lost", ["B"], []),
    }
    assert same.id not in found


def test_waits_under_keys_that_an_event_has_anyway_are_not_counted(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["ref"])
    receive(tenant, event_type="PAID", payload={"ref": "A", "invoice": "I-1"}, workflow_correlation_key=None)
    open_wait(tenant, key="A", name="PAID")
    told = correlation_what_if(tenant_id=tenant.id, paths={"PAID": ["ref", "invoice"]})
    assert (told["counts"]["changed"], told["changes"][0]["after"], told["open_waits"]) == (1, ["A", "I-1"], 0)
    open_wait(tenant, key="I-1", name="PAID")
    assert correlation_what_if(tenant_id=tenant.id, paths={"PAID": ["ref", "invoice"]})["open_waits"] == 1


def test_only_the_last_events_of_the_tenant_are_looked_at(tenant: Any) -> None:
    for number in range(5):
        receive(tenant, event_type="PAID", payload={"n": number}, workflow_correlation_key=None)
    other = make_tenant()
    receive(other, event_type="PAID", payload={"n": 9}, workflow_correlation_key=None)
    told = correlation_what_if(tenant_id=tenant.id, paths={"*": ["n"]}, last=2)
    assert (told["looked_at"], [change["after"] for change in told["changes"]]) == (2, [["4"], ["3"]])


def test_long_lists_are_cut_and_counted_whole(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.explain import what_if_correlation

    monkeypatch.setattr(what_if_correlation, "SHOWN_CHANGES", 2)
    monkeypatch.setattr(what_if_correlation, "_SLICE", 2)
    for number in range(5):
        receive(tenant, event_type="PAID", payload={"n": number}, workflow_correlation_key=None)
    told = correlation_what_if(tenant_id=tenant.id, paths={"PAID": "n"})
    assert (told["counts"]["gained"], len(told["changes"]), told["has_more_changes"]) == (5, 2, True)


def test_events_are_read_in_slices_and_waits_only_where_keys_are_new(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ingress.explain import what_if_correlation

    monkeypatch.setattr(what_if_correlation, "_SLICE", 2)
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["n"])
    for number in range(5):
        receive(tenant, event_type="PAID", payload={"n": number, "m": -number}, workflow_correlation_key=None)
    at = Event.objects.filter(tenant=tenant).order_by("received_at").first().received_at
    Event.objects.filter(tenant=tenant).update(received_at=at)  # then their ids alone tell them apart
    with CaptureQueriesContext(connection) as queries:
        told = correlation_what_if(tenant_id=tenant.id, paths={"PAID": "nothing"}, last=1000)
    asked = [query["sql"] for query in queries]
    assert (told["looked_at"], told["counts"]["lost"]) == (5, 5)
    assert [sql.rpartition("LIMIT ")[2] for sql in asked if '"payload"' in sql] == ["2"] * 3
    assert not [sql for sql in asked if RunWait._meta.db_table in sql]
    with CaptureQueriesContext(connection) as queries:
        told = correlation_what_if(tenant_id=tenant.id, paths={"PAID": ["n", "m"]}, last=3)
    asked = [query["sql"] for query in queries]
    assert (told["looked_at"], told["counts"]["changed"]) == (3, 3)
    assert sum(RunWait._meta.db_table in sql for sql in asked) == 2
    assert not [sql for sql in asked if Definition._meta.db_table in sql]


@pytest.mark.parametrize("paths", [{"E": ["a..b"]}, {"E": []}, {"E": 1}, ["a"], "a", None])
def test_paths_that_are_none_are_refused(tenant: Any, paths: Any) -> None:
    with pytest.raises(InputInvalid) as raised:
        correlation_what_if(tenant_id=tenant.id, paths=paths)
    assert raised.value.code == "CORRELATION_PATHS_INVALID"


@pytest.mark.parametrize("last", [0, 5001, True, "10"])
def test_the_number_of_events_is_bounded(tenant: Any, last: Any) -> None:
    with pytest.raises(InputInvalid):
        correlation_what_if(tenant_id=tenant.id, paths={}, last=last)


# -- Doors --------------------------------------------------------------------------------------------------------------


def test_the_api_answers_operators_and_refuses_viewers(tenant: Any) -> None:
    wait = open_wait(tenant)
    operator, viewer = Api(make_token(tenant)), Api(make_token(tenant, Role.VIEWER))
    told = operator.post("/events/what-if", REPLY)
    assert (told.status_code, told.json()["waits"][0]["run_id"]) == (200, str(wait.run_id))
    paths = {"paths": {"REPLIED": "ticketId"}, "last": 10}
    assert operator.post("/event-types/what-if", paths).json()["counts"]["same"] == 0
    for path, body in (("/events/what-if", REPLY), ("/event-types/what-if", paths)):
        assert error_of(viewer.post(path, body), 403)["code"] == "PERMISSION_DENIED"
        assert Api("nobody").post(path, body).status_code == 401
    assert error_of(operator.post("/event-types/what-if", {}), 400)["code"] == "VALIDATION_ERROR"
    wrong = operator.post("/event-types/what-if", {"paths": {"E": []}})
    assert error_of(wrong, 400)["code"] == "CORRELATION_PATHS_INVALID"
    assert operator.post("/events/what-if", []).json()["answer"]["code"] == "EVENT_INVALID"
    assert not Event.objects.filter(tenant=tenant).exists()


def test_another_tenants_waits_are_never_met(tenant: Any) -> None:
    open_wait(tenant)
    told = Api(make_token(make_tenant())).post("/events/what-if", REPLY).json()
    assert (told["waits"], told["near_misses"]) == ([], [])


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("name", ["event_what_if", "event_what_if_correlation", "eventdelivery_changelist"])
def test_every_role_may_open_the_pages(tenant: Any, role: str, name: str) -> None:
    page = member_of(tenant, role=role).get(reverse(f"admin:workflows_{name}"))
    assert page.status_code == 200
    assert ("<textarea" in page.content.decode()) is (role != "viewer" and "what_if" in name)


def test_the_page_is_filled_with_the_event_it_was_opened_from(tenant: Any) -> None:
    event = receive(tenant, event_id="the-senders-id", payload={"pin": "4711"})
    address = reverse("admin:workflows_event_what_if")
    operator, viewer = member_of(tenant), member_of(tenant, role="viewer")
    page = operator.get(address, {"event": str(event.id)}).content.decode()
    assert "&quot;pin&quot;: &quot;4711&quot;" in page
    assert "the-senders-id" not in page
    assert b"4711" not in viewer.get(address, {"event": str(event.id)}).content
    for wrong in ("nonsense", str(receive(make_tenant()).id)):
        assert operator.get(address, {"event": wrong}).status_code == 404


def test_the_pages_answer_operators_and_refuse_viewers(tenant: Any) -> None:
    open_wait(tenant)
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["ref"])
    event = receive(tenant, event_type="PAID", payload={"invoice": "I-9"}, workflow_correlation_key=None)
    operator, viewer = member_of(tenant), member_of(tenant, role="viewer")
    address = reverse("admin:workflows_event_what_if")
    page = operator.post(address, {"event": json.dumps(REPLY)}).content.decode()
    assert "The event would be delivered" in page
    assert "if the workflow agrees" in page
    assert "This is not valid JSON" in operator.post(address, {"event": "{"}).content.decode()
    catalogue = reverse("admin:workflows_event_what_if_correlation")
    assert "&quot;PAID&quot;" in operator.get(catalogue).content.decode()
    page = operator.post(catalogue, {"paths": '{"PAID": "invoice"}', "last": "100"}).content.decode()
    assert "1 event checked" in page
    assert "I-9" in page
    assert "dotted path" in operator.post(catalogue, {"paths": '{"PAID": []}', "last": "100"}).content.decode()
    assert viewer.post(address, {"event": json.dumps(REPLY)}).status_code == 403
    assert viewer.post(catalogue, {"paths": "{}", "last": "1"}).status_code == 403
    assert list(Event.objects.filter(tenant=tenant)) == [event]
