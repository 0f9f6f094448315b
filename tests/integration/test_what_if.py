""" "What if": forecasts from the same code that routes events, in read-only transactions.

Source: docs/reference/events.md#what-if
"""

import json
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from ingress.dispatch.routing import event_route
from ingress.explain.what_if import event_what_if
from ingress.explain.what_if_correlation import correlation_what_if
from tests.support.api import Api, error_of
from tests.support.events import REPLY, open_wait, receive
from tests.support.factories import expr, make_actor, make_run, make_tenant, make_token, publish
from tests.support.members import member_of
from tests.support.row_counts import row_counts
from tests.support.triggers import STATE, TRIGGER
from workflows.errors import InputInvalid
from workflows.models import Definition, Event, EventDelivery, EventType, HumanTask, PayloadSchema, RunWait
from workflows.models.read_only import reading_only
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def what_if_of(tenant: Any, actor: Any = None, **value: Any) -> dict[str, Any]:
    """Return the result. Check that no row of any table has changed."""
    before = row_counts(tenant)
    result = event_what_if(actor=actor or make_actor(tenant), value={**REPLY, **value})
    assert row_counts(tenant) == before
    return result


def forecasts(result: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(target["forecast"]["status"], target["forecast"]["why"]) for target in result[kind]]


# -- Nothing is written -----------------------------------------------------------------------------------------------


def test_database_refuses_writes_and_row_locks(tenant: Any) -> None:
    with pytest.raises(DatabaseError, match="read-only transaction"), reading_only():
        receive(tenant)
    with pytest.raises(DatabaseError, match="read-only transaction"), reading_only():
        Event.objects.select_for_update().filter(tenant=tenant).exists()
    assert not Event.objects.filter(tenant=tenant).exists()
    receive(tenant)  # writes are possible again after the block


def test_read_only_transaction_must_be_the_outermost_one(tenant: Any) -> None:
    with pytest.raises(RuntimeError), transaction.atomic(), reading_only():
        pass


def test_database_refuses_a_write_during_what_if(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.explain import what_if

    real = what_if.plan_event_routes

    def writing(events: list[Event]) -> Any:
        EventType.objects.create(tenant=tenant, name="SMUGGLED")
        return real(events)

    monkeypatch.setattr(what_if, "plan_event_routes", writing)
    with pytest.raises(DatabaseError, match="read-only transaction"):
        event_what_if(actor=make_actor(tenant), value=REPLY)


# -- One event --------------------------------------------------------------------------------------------------------


def test_forecast_equals_the_later_routing(tenant: Any) -> None:
    waits = [open_wait(tenant), open_wait(tenant)]
    open_wait(make_tenant())
    publish(tenant, STATE, trigger=TRIGGER)
    result = what_if_of(tenant)
    event = receive(tenant)
    event_route(event.id)
    event.refresh_from_db()
    made = EventDelivery.objects.filter(event=event)
    assert {wait["wait_id"] for wait in result["waits"]} == {wait.id for wait in waits}
    assert {wait["wait_id"] for wait in result["waits"]} == set(
        made.filter(kind="wait").values_list("wait_id", flat=True)
    )
    assert [trigger["definition"] for trigger in result["triggers"]] == ["flow"]
    assert result["correlation"]["tried"] == event.correlation_trace
    assert result["outcome"]["status"] == "delivered"
    assert "The event would start flow@1." in result["summary"]


def test_forecast_of_filters_uses_the_sentences_of_the_engine(tenant: Any) -> None:
    open_wait(tenant, filters=[{"path": "ticketId", "op": "=", "value": "T-1"}])
    open_wait(tenant, filters=[{"path": "amount", "op": ">", "value": 5}])
    result = what_if_of(tenant, payload={"ticketId": "T-1", "amount": 3})
    assert sorted(forecasts(result, "waits")) == [
        ("filtered", "the filter amount > 5 does not match: the value is 3"),
        ("matched", "all filters match"),
    ]
    assert "if the workflow confirms the match" in result["summary"]


def test_forecast_of_a_human_task_checks_its_form(tenant: Any) -> None:
    wait = open_wait(tenant, kind="human")
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    HumanTask.objects.create(id=wait.id, tenant=tenant, run=wait.run, step_path="x", title="t", form_schema=schema)
    ((status, why),) = forecasts(what_if_of(tenant, payload={"ok": "yes"}), "waits")
    assert (status, why.split(":")[0]) == ("filtered", "the response does not match the form of the task")
    assert forecasts(what_if_of(tenant, payload={"ok": True}), "waits") == [
        ("matched", "the response matches the form of the task")
    ]


@pytest.mark.parametrize(
    ("role", "task", "status", "why"),
    [
        (Role.VIEWER, {}, "filtered", "the sender may not complete the task: the role viewer"),
        (Role.VIEWER, {"complete_on_event": REPLY["event_type"]}, "matched", "the response matches the form"),
        (Role.OPERATOR, {"assigned_users": ["mei"]}, "filtered", "the sender may not complete the task: the task is"),
        (Role.ADMIN, {"assigned_users": ["mei"]}, "matched", "the response matches the form"),
        (Role.OPERATOR, {"allow_system_completion": False}, "matched", "the response matches the form of the task; "),
    ],
)
def test_forecast_of_a_human_task_checks_its_sender(
    tenant: Any, role: Role, task: dict[str, Any], status: str, why: str
) -> None:
    wait = open_wait(tenant, kind="human")
    HumanTask.objects.create(id=wait.id, tenant=tenant, run=wait.run, step_path="x", title="t", **task)
    ((found, reason),) = forecasts(what_if_of(tenant, make_actor(tenant, role)), "waits")
    assert (found, reason[: len(why)]) == (status, why)


def test_event_without_target_shows_near_misses_and_buffer_time(tenant: Any) -> None:
    wait = open_wait(tenant, key="T-2")
    result = what_if_of(tenant)
    assert [near["wait_id"] for near in result["near_misses"]] == [str(wait.id)]
    assert (result["outcome"]["status"], result["buffer_seconds"]) == ("buffered", 60)
    assert result["summary"].endswith(
        f"Near miss: run {wait.run_id} of {wait.run.definition_key} waits for this event with the key T-2. "
        "A wait that opens within 1 min after the event would find it."
    )


def test_forecasts_of_triggers_that_are_paused_or_have_a_wrong_mapping_or_payload(tenant: Any) -> None:
    PayloadSchema.objects.create(
        tenant=tenant, ref="payload.Paid.v1", schema={"type": "object", "required": ["amount"]}
    )
    paused = publish(tenant, STATE, key="a-paused", trigger=TRIGGER).definition
    paused.is_paused, paused.paused_reason = True, "a holiday"
    paused.save()
    publish(tenant, STATE, key="b-mapping", trigger={**TRIGGER, "payloadMapping": {"x": expr("event.payload.missing")}})
    publish(tenant, STATE, key="c-schema", trigger=TRIGGER, payloadSchemaRef="payload.Paid.v1")
    publish(tenant, STATE, key="d-fine", trigger={**TRIGGER, "payloadMapping": {"id": expr("event.payload.ticketId")}})
    result = what_if_of(tenant)
    (first, second, third, fourth) = forecasts(result, "triggers")
    assert first == ("pending", "the definition a-paused is paused: a holiday")
    assert (second[0], second[1].partition(":")[0]) == ("skipped", "the payload mapping failed")
    assert (third[0], third[1].partition(":")[0]) == (
        "skipped",
        "the payload does not match the schema payload.Paid.v1",
    )
    assert fourth[0] == "started"
    assert result["triggers"][3]["input"] == {"id": "T-1"}


def test_forecast_contains_the_use_of_slots(tenant: Any) -> None:
    version = publish(tenant, STATE, trigger=TRIGGER)
    version.definition.concurrency_limit = 2
    version.definition.save()
    make_run(tenant, definition_version=version)
    assert what_if_of(tenant)["triggers"][0]["limit"] == {"limit": 2, "open_runs": 1, "waiting": 0}
    make_run(tenant, definition_version=version)
    make_run(tenant, definition_version=version, status="SUCCEEDED")
    result = what_if_of(tenant)
    why = "the definition flow is at its concurrency limit: 2 of 2 slots are used by open runs"
    assert forecasts(result, "triggers") == [("pending", why)]
    assert result["outcome"]["status"] == "held"


@pytest.mark.parametrize(
    ("on_conflict", "status", "effect"),
    [("skip", "skipped", "is skipped"), ("queue", "started", "is queued"), ("cancelOldest", "started", "is canceled")],
)
def test_forecast_names_the_run_that_holds_the_concurrency_key(
    tenant: Any, on_conflict: str, status: str, effect: str
) -> None:
    version = publish(tenant, STATE, trigger=TRIGGER)
    version.definition.concurrency = {"key": expr("payload.ticketId"), "onConflict": on_conflict}
    version.definition.save()
    make_run(tenant, definition_version=version, concurrency_key="T-2")
    assert forecasts(what_if_of(tenant), "triggers") == [("started", "this event starts the published version")]
    holder = make_run(tenant, definition_version=version, concurrency_key="T-1")
    ((found, why),) = forecasts(what_if_of(tenant), "triggers")
    assert found == status
    assert str(holder.id) in why
    assert effect in why


def test_repeats_and_conflicts_of_event_ids_are_forecast(tenant: Any) -> None:
    open_wait(tenant)
    event = receive(tenant, event_id="e-1")
    repeat = what_if_of(tenant, event_id="e-1")
    assert (repeat["answer"]["status"], repeat["first"]["id"], repeat["waits"]) == (200, event.id, [])
    assert repeat["summary"].startswith("Nothing would happen. It repeats the event that was received at")
    other = what_if_of(tenant, event_id="e-1", payload={"x": 1})
    assert (other["answer"]["status"], other["answer"]["code"]) == (409, "EVENT_ID_CONFLICT")


def test_invalid_event_is_refused_with_every_problem(tenant: Any) -> None:
    result = event_what_if(actor=make_actor(tenant), value={"payload": 1, "tenant": "x"})
    assert (result["answer"]["status"], result["answer"]["code"]) == (400, "EVENT_INVALID")
    assert {problem["path"] for problem in result["answer"]["details"]["problems"]} == {
        "tenant",
        "event_type",
        "payload",
    }


def test_payload_that_does_not_match_the_catalogue_schema_is_rejected(tenant: Any) -> None:
    PayloadSchema.objects.create(tenant=tenant, ref="r.v1", schema={"type": "object", "required": ["amount"]})
    EventType.objects.create(tenant=tenant, name="REPLIED", payload_schema_ref="r.v1")
    open_wait(tenant)
    result = what_if_of(tenant)
    assert (result["answer"]["code"], result["outcome"]["status"], result["waits"]) == (
        "EVENT_PAYLOAD_INVALID",
        "rejected",
        [],
    )
    assert result["schema"]["problems"]


# -- Other correlation paths ------------------------------------------------------------------------------------------


def test_other_paths_are_compared_on_stored_events(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["ref"])
    free = {"event_type": "PAID", "workflow_correlation_key": None}
    same = receive(tenant, event_type="PAID", payload={"ref": "S"})  # its sender set the key
    changed = receive(tenant, payload={"ref": "A", "invoice": {"id": 7}}, **free)
    gained = receive(tenant, payload={"invoice": {"id": 8}}, **free)
    lost = receive(tenant, payload={"ref": "B"}, **free)
    open_wait(tenant, key="7", name="PAID")
    open_wait(tenant, key="8", name="PAID")
    open_wait(tenant, key="8", name="OTHER")
    before = row_counts(tenant)
    result = correlation_what_if(tenant_id=tenant.id, paths={"PAID": "payload.invoice.id"})
    assert row_counts(tenant) == before
    assert result["counts"] == {"same": 1, "changed": 1, "gained": 1, "lost": 1}
    assert (result["looked_at"], result["open_waits"], result["has_more_changes"]) == (4, 2, False)
    found = {change["id"]: (change["change"], change["before"], change["after"]) for change in result["changes"]}
    assert found == {
        changed.id: ("changed", ["A"], ["7"]),
        gained.id: ("gained", [], ["8"]),
        lost.id: ("lost", ["B"], []),
    }
    assert same.id not in found


def test_waits_with_present_keys_are_not_counted(tenant: Any) -> None:
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["ref"])
    receive(tenant, event_type="PAID", payload={"ref": "A", "invoice": "I-1"}, workflow_correlation_key=None)
    open_wait(tenant, key="A", name="PAID")
    result = correlation_what_if(tenant_id=tenant.id, paths={"PAID": ["ref", "invoice"]})
    assert (result["counts"]["changed"], result["changes"][0]["after"], result["open_waits"]) == (1, ["A", "I-1"], 0)
    open_wait(tenant, key="I-1", name="PAID")
    assert correlation_what_if(tenant_id=tenant.id, paths={"PAID": ["ref", "invoice"]})["open_waits"] == 1


def test_only_the_last_events_of_the_tenant_are_compared(tenant: Any) -> None:
    for number in range(5):
        receive(tenant, event_type="PAID", payload={"n": number}, workflow_correlation_key=None)
    other = make_tenant()
    receive(other, event_type="PAID", payload={"n": 9}, workflow_correlation_key=None)
    result = correlation_what_if(tenant_id=tenant.id, paths={"*": ["n"]}, last=2)
    assert (result["looked_at"], [change["after"] for change in result["changes"]]) == (2, [["4"], ["3"]])


def test_long_lists_of_changes_are_cut_but_counted_completely(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.explain import what_if_correlation

    monkeypatch.setattr(what_if_correlation, "SHOWN_CHANGES", 2)
    monkeypatch.setattr(what_if_correlation, "_SLICE", 2)
    for number in range(5):
        receive(tenant, event_type="PAID", payload={"n": number}, workflow_correlation_key=None)
    result = correlation_what_if(tenant_id=tenant.id, paths={"PAID": "n"})
    assert (result["counts"]["gained"], len(result["changes"]), result["has_more_changes"]) == (5, 2, True)


def test_events_are_read_in_slices_and_waits_only_for_new_keys(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingress.explain import what_if_correlation

    monkeypatch.setattr(what_if_correlation, "_SLICE", 2)
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["n"])
    for number in range(5):
        receive(tenant, event_type="PAID", payload={"n": number, "m": -number}, workflow_correlation_key=None)
    at = Event.objects.filter(tenant=tenant).order_by("received_at").first().received_at
    Event.objects.filter(tenant=tenant).update(received_at=at)  # now only the ids give an order
    with CaptureQueriesContext(connection) as queries:
        result = correlation_what_if(tenant_id=tenant.id, paths={"PAID": "nothing"}, last=1000)
    statements = [query["sql"] for query in queries]
    assert (result["looked_at"], result["counts"]["lost"]) == (5, 5)
    assert [sql.rpartition("LIMIT ")[2] for sql in statements if '"payload"' in sql] == ["2"] * 3
    assert not [sql for sql in statements if RunWait._meta.db_table in sql]
    with CaptureQueriesContext(connection) as queries:
        result = correlation_what_if(tenant_id=tenant.id, paths={"PAID": ["n", "m"]}, last=3)
    statements = [query["sql"] for query in queries]
    assert (result["looked_at"], result["counts"]["changed"]) == (3, 3)
    assert sum(RunWait._meta.db_table in sql for sql in statements) == 2
    assert not [sql for sql in statements if Definition._meta.db_table in sql]


@pytest.mark.parametrize("paths", [{"E": ["a..b"]}, {"E": []}, {"E": 1}, ["a"], "a", None])
def test_invalid_paths_are_refused(tenant: Any, paths: Any) -> None:
    with pytest.raises(InputInvalid) as raised:
        correlation_what_if(tenant_id=tenant.id, paths=paths)
    assert raised.value.code == "CORRELATION_PATHS_INVALID"


@pytest.mark.parametrize("last", [0, 5001, True, "10"])
def test_the_number_of_events_is_bounded(tenant: Any, last: Any) -> None:
    with pytest.raises(InputInvalid):
        correlation_what_if(tenant_id=tenant.id, paths={}, last=last)


# -- API and pages ----------------------------------------------------------------------------------------------------


def test_api_serves_operators_and_refuses_viewers(tenant: Any) -> None:
    wait = open_wait(tenant)
    operator, viewer = Api(make_token(tenant)), Api(make_token(tenant, Role.VIEWER))
    result = operator.post("/events/what-if", REPLY)
    assert (result.status_code, result.json()["waits"][0]["run_id"]) == (200, str(wait.run_id))
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


def test_waits_of_other_tenants_are_never_shown(tenant: Any) -> None:
    open_wait(tenant)
    result = Api(make_token(make_tenant())).post("/events/what-if", REPLY).json()
    assert (result["waits"], result["near_misses"]) == ([], [])


@pytest.mark.parametrize("role", Role.values)
@pytest.mark.parametrize("name", ["event_what_if", "event_what_if_correlation", "eventdelivery_changelist"])
def test_every_role_may_open_the_pages(tenant: Any, role: str, name: str) -> None:
    page = member_of(tenant, role=role).get(reverse(f"admin:workflows_{name}"))
    assert page.status_code == 200
    assert ("<textarea" in page.content.decode()) is (role != "viewer" and "what_if" in name)


def test_page_is_filled_with_the_event_from_which_it_was_opened(tenant: Any) -> None:
    event = receive(tenant, event_id="the-senders-id", payload={"pin": "4711"})
    address = reverse("admin:workflows_event_what_if")
    operator, viewer = member_of(tenant), member_of(tenant, role="viewer")
    page = operator.get(address, {"event": str(event.id)}).content.decode()
    assert "&quot;pin&quot;: &quot;4711&quot;" in page
    assert "the-senders-id" not in page
    assert b"4711" not in viewer.get(address, {"event": str(event.id)}).content
    for wrong in ("nonsense", str(receive(make_tenant()).id)):
        assert operator.get(address, {"event": wrong}).status_code == 404


def test_pages_serve_operators_and_refuse_viewers(tenant: Any) -> None:
    open_wait(tenant)
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["ref"])
    event = receive(tenant, event_type="PAID", payload={"invoice": "I-9"}, workflow_correlation_key=None)
    operator, viewer = member_of(tenant), member_of(tenant, role="viewer")
    address = reverse("admin:workflows_event_what_if")
    page = operator.post(address, {"event": json.dumps(REPLY)}).content.decode()
    assert "The event would be delivered" in page
    assert "if the workflow confirms the match" in page
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
