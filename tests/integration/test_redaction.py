"""Redaction (docs/reference/administration.md#tenants-and-roles): values under telling keys and at named places, on every screen and in every answer."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from ingress.dispatch.routing import event_route
from ingress.explain.what_if import event_what_if
from tests.support.api import Api
from tests.support.events import open_wait, receive
from tests.support.factories import expr, make_actor, make_run, make_tenant, make_token, publish
from tests.support.members import member_of
from workflows import event_redaction
from workflows.engine.filters import first_mismatch
from workflows.event_redaction import EventRedaction
from workflows.ledger import command_open
from workflows.models import ActionInvocation, Command, Event, EventDelivery, EventType, HumanTask, RunStep, Tenant
from workflows.projections.transaction import projection_writer
from workflows.redaction import BUILT_IN, HIDDEN, compiled, redact, redact_filters, restored, rule_problem, rules_of
from workflows.statuses import CommandAction, Role

pytestmark = pytest.mark.usefixtures("unheard")
CARD, IBAN, WORD = "4111-1111", "AT61-1904", "open-sesame"
RULES = ["/payload/card/number", "/input/cards/*/number", "*iban*"]


# -- The function --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["password", "userPassword", "DB_PASSWORD", "secret", "client-secret", "token", "accessToken", "Authorization", "proxy-authorization",
     "api_key", "apiKey", "X-Api-Key", "API KEY", "private_key", "credentials", "Set-Cookie", "cookie", "passphrase"],
)  # fmt: skip
def test_telling_keys_hide_whatever_stands_under_them(key: str) -> None:
    for value in (WORD, 12345, [WORD], {"x": WORD}):
        assert redact({"a": [{key: value, "b": 1}]}, compiled()) == {"a": [{key: HIDDEN, "b": 1}]}


def test_what_gives_nothing_away_stays() -> None:
    value = {"password": None, "has_token": True, "secret": "", "tokens": [], "monkey": "x", "key": "y", "pass": 1}
    assert redact(value, compiled()) == value
    assert redact("password", compiled()) == "password"


def test_a_reference_to_a_secret_stays_and_one_that_says_more_does_not() -> None:
    reference = {"$secret": "DB_PASSWORD"}
    assert redact({"password": reference, "x": [reference]}, compiled()) == {"password": reference, "x": [reference]}
    assert redact({"$secret": WORD}, compiled()) == {"$secret": HIDDEN}


def test_pairs_of_name_and_value() -> None:
    pairs = [
        {"name": "Authorization", "value": WORD},
        {"key": "api-key", "value": WORD},
        {"name": "Accept", "value": "x"},
    ]
    assert [pair["value"] for pair in redact(pairs, compiled())] == [HIDDEN, HIDDEN, "x"]


def test_pointers_begin_at_what_a_thing_is_called() -> None:
    rules = compiled(("/payload/card/number", "/payload/items/*/price", "/output", "/payload/a~1b", "/payload/flag"))
    payload = {"card": {"number": 1, "name": "x"}, "items": [{"price": 1}, {"price": [2]}], "a/b": 1, "flag": False}
    hidden = {
        "card": {"number": HIDDEN, "name": "x"}, "items": [{"price": HIDDEN}] * 2, "a/b": HIDDEN, "flag": HIDDEN,
    }  # fmt: skip
    assert redact(payload, rules, "/payload") == hidden
    assert redact({"payload": payload, "output": 5}, rules) == {"payload": hidden, "output": HIDDEN}
    assert redact({"deep": 1}, rules, "/output") == redact({"deep": 1}, rules, "/output/deeper") == HIDDEN
    assert redact(payload, rules, "/input") == payload


def test_patterns_of_the_tenant_hold_at_every_depth() -> None:
    rules = compiled(("*iban*", "birth?ate"))
    assert redact({"x": [{"customerIBAN": IBAN, "birth_date": "y"}]}, rules) == {
        "x": [{"customerIBAN": HIDDEN, "birth_date": HIDDEN}]
    }


def test_filters_are_redacted_as_the_payload_is() -> None:
    rules = compiled(tuple(RULES))
    filters = [
        {"path": "card.number", "op": "=", "value": CARD}, {"path": "iban", "op": "in", "value": [IBAN]},
        {"path": "x", "op": "=", "value": {"token": WORD, "y": 1}}, {"path": "x", "op": "exists"},
    ]  # fmt: skip
    assert [condition.get("value") for condition in redact_filters(filters, rules)] == [
        HIDDEN, HIDDEN, {"token": HIDDEN, "y": 1}, None,
    ]  # fmt: skip
    below = [{"path": path, "op": "=", "value": WORD} for path in ("credentials.user", "iban.bank.0", "monkey.user")]
    assert [condition["value"] for condition in redact_filters(below, rules)] == [HIDDEN, HIDDEN, WORD]


def test_rules_that_cannot_be_are_told_and_stored_ones_break_nothing(tenant: Tenant) -> None:
    assert [rule_problem(rule) for rule in ["/payload/x", "*iban*", *BUILT_IN]] == [None] * (2 + len(BUILT_IN))
    assert all(rule_problem(rule) for rule in [5, "", "  ", "/", "*", "*_*", "x" * 501])
    for stored in (None, 5, {"a": 1}, [5, None, "*iban*", ""]):
        Tenant.objects.filter(id=tenant.id).update(redaction_rules=stored if stored is not None else [])
        assert redact({"password": WORD, "x": 1}, rules_of(tenant.id)) == {"password": HIDDEN, "x": 1}


def test_what_is_left_hidden_keeps_its_value_when_somebody_edits_the_rest() -> None:
    original = {"a": {"password": WORD, "x": 1}, "list": [{"token": WORD}, 5], "api_key": "k"}
    shown = redact(original, compiled())
    assert restored(shown, shown, original) == original
    edited = {
        "a": {"password": HIDDEN, "x": 2, "new": HIDDEN},
        "list": [{"token": "changed"}, 5, HIDDEN],
        "api_key": HIDDEN,
    }
    assert restored(edited, shown, original) == {
        "a": {"password": WORD, "x": 2, "new": HIDDEN}, "list": [{"token": "changed"}, 5, HIDDEN], "api_key": "k",
    }  # fmt: skip
    assert restored({"a": HIDDEN}, shown, original) == {"a": HIDDEN}


# -- Where it is applied -------------------------------------------------------------------------------------------------

PAYLOAD = {"card": {"number": CARD, "name": "shown-name"}, "iban": IBAN, "login": {"password": WORD}}
ERROR = {
    "category": "ActionError",
    "message": "no",
    "nodePath": "root.steps[0]",
    "at": "y",
    "details": {"iban": IBAN, "token": WORD},
}


@pytest.fixture
def addresses(tenant: Tenant) -> dict[str, list[str]]:
    """Pages and answers with the values behind them."""
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=RULES)
    run = make_run(tenant, input=PAYLOAD, error=ERROR, error_category="ActionError", trigger_metadata={"token": WORD})
    open_wait(tenant, run=run, filters=[{"path": "card.number", "op": "=", "value": CARD}])
    inside = {"cards": [{"number": CARD, "name": "shown-name"}], "headers": {"Authorization": WORD}}
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path="root.steps[0]", step_id="c", step_type="action.call", attempt=1, action_id="http.request",
            action_version=1, status="FAILED", started_at=timezone.now(), input=inside, output={"body": {"iban": IBAN}, "x": "shown-name"}, error=ERROR,
        )  # fmt: skip
    ActionInvocation.objects.create(
        tenant=tenant, run=run, action_id="http.request", action_version=1, idempotency_key="k", input=inside, output={"body": PAYLOAD | {"card": None}}, error=ERROR,
    )  # fmt: skip
    task = HumanTask.objects.create(
        tenant=tenant, run=run, step_path="root.steps[0]", task_type="t", title="t", status="completed",
        context_data=PAYLOAD | {"card": None}, response={"iban": IBAN},
    )  # fmt: skip
    command = command_open(
        actor=make_actor(tenant),
        action=CommandAction.START_RUN,
        target_type="run",
        target_id="r",
        payload={"payload": PAYLOAD},
    )
    Command.objects.filter(id=command.id).update(details={"password": WORD, "iban": IBAN})
    pages = [
        f"{reverse('admin:workflows_run_change', args=[run.id])}?tab={tab}"
        for tab in ("overview", "steps", "waits", "actions", "input")
    ]
    pages += [
        reverse("admin:workflows_humantask_change", args=[task.id]),
        reverse("admin:workflows_command_change", args=[command.id]),
    ]
    api = [f"/api/v1/runs/{run.id}{part}" for part in ("", "/steps", "/waits", "/invocations")]
    api += ["/api/v1/runs", f"/api/v1/tasks/{task.id}", f"/api/v1/commands/{command.id}", "/api/v1/commands"]
    return {"pages": pages, "api": api}


def test_no_page_and_no_answer_shows_what_the_rules_hide(tenant: Tenant, addresses: dict[str, list[str]]) -> None:
    admin = member_of(tenant, role="admin")
    program = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role.ADMIN)}"})
    told = ""
    for client, kind in ((admin, "pages"), (program, "api")):
        for address in addresses[kind]:
            answer = client.get(address)
            assert answer.status_code == 200, address
            found = [value for value in (CARD, IBAN, WORD) if value in answer.content.decode()]
            assert found == [], address
            told += answer.content.decode()
    assert told.count(HIDDEN) > 20
    assert told.count("shown-name") > 5


def test_without_rules_the_look_finds_the_values(
    tenant: Tenant, addresses: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above is worth: every address of it shows one of them when nothing is redacted."""
    from workflows.admin import ledger, run_commands
    from workflows.api import serializers
    from workflows.templatetags import pointsman

    for module in (ledger, run_commands, serializers, pointsman):
        monkeypatch.setattr(module, "redact", lambda value, *rest, **more: value)
        if hasattr(module, "redact_filters"):
            monkeypatch.setattr(module, "redact_filters", lambda filters, rules: filters)
    program = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role.ADMIN)}"})
    for client, kind in ((member_of(tenant, role="admin"), "pages"), (program, "api")):
        for address in addresses[kind]:
            shows = any(value in client.get(address).content.decode() for value in (CARD, IBAN, WORD))
            assert shows or "tab=actions" in address, address


# -- What is told of events ----------------------------------------------------------------------------------------------

# The payload of `PAID`: its key comes from a place that is hidden, and filters ask for places that are.
PAID = {"card": {"number": CARD, "name": "shown-name"}, "iban": IBAN, "login": {"password": WORD}, "open": "shown-name"}
CATALOGUE = ["iban", "open", "card", "login.password"]


@pytest.fixture
def event(tenant: Tenant) -> Event:
    """An event whose keys, traces, near misses and reasons hold hidden values; a delivery is filtered and one is dead."""
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=RULES)
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=CATALOGUE)
    paid = {"event_type": "PAID", "payload": PAID, "workflow_correlation_key": None}
    open_wait(tenant, key=IBAN, name="OTHER")
    near = receive(tenant, **paid)
    event_route(near.id)  # a near miss under this key, and no delivery
    filters = [{"path": "card.number", "op": "=", "value": f"{CARD}-9"}]
    open_wait(tenant, key=IBAN, name="PAID", filters=filters)
    open_wait(tenant, key=WORD, name="PAID", filters=[{"path": "card", "op": "=", "value": {"number": CARD}}])
    publish(
        tenant,
        {"id": "s", "type": "state.set", "config": {"state": "X"}},
        key="moved",
        trigger={"type": "event", "eventName": "PAID", "payloadMapping": {"moved": expr("event.payload.iban"), "as": "shown-name"}},
    )  # fmt: skip
    event = receive(tenant, **paid)
    event_route(event.id)
    event.refresh_from_db()
    assert (near.correlation_keys, len(near.correlation_trace)) == ([IBAN, "shown-name", WORD], 7)
    first, second, start = EventDelivery.objects.filter(event=event).order_by("kind", "created_at", "id").reverse()
    reasons = (
        ("filtered", first_mismatch(filters, PAID)),
        ("dead", f"ValueError: shown-name, {PAID!r} and {json.dumps(PAID)}"),
        ("skipped", f"the payload mapping failed: both keys are {IBAN!r}"),
    )
    for delivery, (status, reason) in zip((first, second, start), reasons, strict=True):
        delivery.status, delivery.reason, delivery.attempts, delivery.decided_at = status, reason, 1, timezone.now()
        delivery.attempt_log = [{"at": timezone.now().isoformat(), "attempt": 1, "outcome": "failed", "reason": reason}]
        delivery.save()
    return event


def event_addresses(event: Event) -> dict[str, list[str]]:
    near = Event.objects.exclude(id=event.id).get(tenant_id=event.tenant_id)
    dead = EventDelivery.objects.get(event=event, status="dead")
    inbox = reverse("admin:workflows_eventdelivery_changelist")
    pages = [reverse("admin:workflows_event_change", args=[each.id]) for each in (event, near)]
    pages += [inbox, f"{inbox}?status=all", reverse("admin:workflows_event_changelist")]
    pages += [reverse(f"admin:workflows_eventdelivery_{action}", args=[dead.id]) for action in ("redeliver", "discard")]
    api = ["/api/v1/events", "/api/v1/deliveries", f"/api/v1/deliveries/{dead.id}"]
    api += [f"/api/v1/events/{each.id}{part}" for each in (event, near) for part in ("", "/trace")]
    return {"pages": pages, "api": api}


def event_answers(event: Event) -> list[tuple[str, str]]:
    """What whoever may act sees of it, with its address; "what if" is asked with the event as it is stored."""
    tenant: Any = event.tenant
    member, program = member_of(tenant), Api(make_token(tenant, Role.OPERATOR))
    addresses = event_addresses(event)
    answers = [(address, member.get(address).content.decode()) for address in addresses["pages"]]
    what_if = reverse("admin:workflows_event_what_if")
    answers.append(
        (what_if, member.post(what_if, {"event": filled(member, event), "stored": str(event.id)}).content.decode())
    )
    by_path = reverse("admin:workflows_event_what_if_correlation")
    paths = {"PAID": ["card.number", "login.password"]}
    answers.append((by_path, member.post(by_path, {"paths": json.dumps(paths), "last": 10}).content.decode()))
    answers += [
        (address, program.get(address.removeprefix("/api/v1")).content.decode()) for address in addresses["api"]
    ]
    asked = program.post("/events/what-if", {"event_type": "PAID", "payload": PAID}).json()
    answers.append(("/events/what-if", json.dumps(asked)))
    answers.append(("/event-types/what-if", program.post("/event-types/what-if", {"paths": paths}).content.decode()))
    dead = [str(row.id) for row in EventDelivery.objects.filter(event=event, status="dead")]
    answers.append(("dry run", program.post("/deliveries/redeliver", {"ids": dead, "dry_run": True}).content.decode()))
    return answers


def filled(member: Client, event: Event) -> str:
    """The text that the form of "what if" is filled with."""
    page = member.get(reverse("admin:workflows_event_what_if"), {"event": str(event.id)})
    return str(page.context["form"]["event"].value())


def values_in(text: str) -> list[str]:
    return [value for value in (CARD, IBAN, WORD) if value in text]


def test_keys_traces_and_reasons_do_not_tell_what_the_rules_hide(event: Event) -> None:
    answers = event_answers(event)
    assert {address: values_in(text) for address, text in answers} == {address: [] for address, _ in answers}
    assert [address for address, text in answers if HIDDEN not in text] == []
    assert sum(text.count("shown-name") for _, text in answers) > 10


def test_without_rules_the_look_finds_them_in_every_answer(event: Event, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(event_redaction, "redact", lambda value, *rest, **more: value)
    monkeypatch.setattr(event_redaction, "redact_at", lambda path, value, rules: value)
    assert [address for address, text in event_answers(event) if not values_in(text)] == []


def test_viewers_see_no_more_than_others(event: Event) -> None:
    viewer, program = member_of(event.tenant, role="viewer"), Api(make_token(event.tenant, Role.VIEWER))
    addresses = event_addresses(event)
    told = [viewer.get(address).content.decode() for address in addresses["pages"][:5]]
    told += [program.get(address.removeprefix("/api/v1")).content.decode() for address in addresses["api"]]
    assert [values_in(text) for text in told] == [[]] * len(told)


def test_the_runs_page_tells_reasons_as_the_events_page_does(event: Event) -> None:
    for delivery in EventDelivery.objects.filter(event=event, kind="wait").exclude(wait__correlation_key=IBAN):
        page = member_of(event.tenant).get(
            reverse("admin:workflows_run_change", args=[delivery.run_id]) + "?tab=events"
        )
        assert CARD not in page.content.decode()


def test_sentences_of_filters_lose_their_values_by_the_filters_path() -> None:
    def told(path: str, op: str, value: Any, payload: Any) -> str:
        condition = {"path": path, "op": op, **({} if op in ("exists", "not_exists") else {"value": value})}
        event = Event(payload=payload, correlation_trace=[])
        return EventRedaction(event, compiled(tuple(RULES))).reason(first_mismatch([condition], payload) or "")

    gone = f"does not hold: the value is {HIDDEN}"
    assert told("card.number", "=", "x", PAID) == f"filter card.number = {HIDDEN} {gone}"
    assert told("iban", "not_exists", None, PAID) == f"filter iban not_exists {gone}"
    assert told("iban", "exists", None, {}) == "filter iban exists does not hold: the value is missing"
    assert told("iban", "in", [IBAN], {}) == f"filter iban in {HIDDEN} does not hold: the value is missing"
    assert told("card", "=", 5, PAID) == f"filter card = {HIDDEN} {gone}"
    assert (
        told("login.password.x", "=", WORD, {"login": 5})
        == f"filter login.password.x = {HIDDEN} does not hold: the value is missing"
    )
    assert told("x", "=", {"token": WORD}, {"x": 1}) == f"filter x = {HIDDEN} {gone}"
    assert (
        told("headers.0.value", "=", "y", {"headers": [{"name": "Cookie", "value": WORD}]})
        == f"filter headers.0.value = {HIDDEN} {gone}"
    )
    assert told("card.name", "=", "y", PAID) == "filter card.name = 'y' does not hold: the value is 'shown-name'"
    assert told("amount", ">", 100, {"amount": 7}) == "filter amount > 100 does not hold: the value is 7"


def test_other_sentences_lose_the_hidden_values_that_they_hold() -> None:
    def told(text: str, **payload: Any) -> str:
        return EventRedaction(Event(payload=payload), compiled()).reason(text)

    for value in ("it's \n so", 'it\'s "so" \n', "\u00fc\n\t"):
        assert told(f"it is {value!r}, no", secret=value) in (f"it is '{HIDDEN}', no", f'it is "{HIDDEN}", no')
        assert told(f"it is {json.dumps(value)}", secret=value) == f'it is "{HIDDEN}"'
    assert told("7 of 17, 7.5 and v7", pwd=7) == f"{HIDDEN} of 17, 7.5 and v7"
    assert told("abc in abcd, 'abc'", pwd="abc") == f"{HIDDEN} in abcd, '{HIDDEN}'"
    assert told(f"both are {'k' * 80!r}, no", pwd="k" * 300) == f"both are '{HIDDEN}', no"
    assert told(f"{'x' * 490}: 'swordfish"[:500], pwd="swordfish") == f"{'x' * 490}: '{HIDDEN}"
    assert told("it is open", pwd="opened") == "it is open"
    assert told("no: w7", secrets=[f"w{number}" for number in range(200)]) == f"no: {HIDDEN}"
    assert told("no: x", secret=False, token=None, pwd="") == "no: x"


def test_what_a_mapping_moves_is_hidden_where_it_has_gone() -> None:
    redaction = EventRedaction(Event(payload={**PAID, "pwd": 4711}), compiled(tuple(RULES)))
    made = {"a": IBAN, "b": [f"to {IBAN}"], "c": 4711, "d": True, "e": 4712, "iban": "other", "f": "shown-name"}
    assert redaction.made(made) == {
        "a": HIDDEN, "b": [f"to {HIDDEN}"], "c": HIDDEN, "d": True, "e": 4712, "iban": HIDDEN, "f": "shown-name",
    }  # fmt: skip


def test_the_near_miss_of_a_hidden_key_is_told_without_it(tenant: Tenant) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["*iban*"])
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["iban"])
    wait = open_wait(tenant, key="AT-another", name="PAID")
    event = receive(tenant, event_type="PAID", payload={"iban": IBAN}, workflow_correlation_key=None)
    event_route(event.id)
    text = Api(make_token(tenant)).get(f"/events/{event.id}/trace").content.decode()
    assert "AT-another" not in text
    assert (
        f"Run {wait.run_id} of {wait.run.definition_key} was near: it waits for this event under {HIDDEN}, which is another key."
        in text
    )


# -- What if it came again -----------------------------------------------------------------------------------------------


def test_what_if_it_came_again_is_answered_with_the_values_that_are_not_shown(event: Event) -> None:
    member, address = member_of(event.tenant), reverse("admin:workflows_event_what_if")
    text = filled(member, event)
    assert (values_in(text), text.count(HIDDEN)) == ([], 3)
    page = member.get(address, {"event": str(event.id)}).content.decode()
    assert f'name="stored" value="{event.id}"' in page

    def told(stored: str, **changes: Any) -> Any:
        asked = {**json.loads(text), **changes}
        return member.post(address, {"event": json.dumps(asked), "stored": stored}).context["told"]

    true = event_what_if(tenant_id=event.tenant_id, value={"event_type": "PAID", "payload": PAID})
    found = told(str(event.id))
    assert [wait["wait_id"] for wait in found["waits"]] == [wait["wait_id"] for wait in true["waits"]] != []
    assert found["correlation"]["keys"] == true["correlation"]["keys"] == [HIDDEN, "shown-name", HIDDEN]
    assert told("")["waits"] == []  # of the text itself
    changed = {**json.loads(text)["payload"], "iban": "changed", "login": None}
    assert told(str(event.id), payload=changed)["waits"] == []
    other = receive(make_tenant(), event_type="PAID", payload=PAID)
    for wrong in (str(other.id), "nonsense"):
        assert member.post(address, {"event": text, "stored": wrong}).status_code == 404


# -- The ledger and the rules --------------------------------------------------------------------------------------------


def test_the_ledger_is_redacted_when_it_is_written(tenant: Tenant, addresses: dict[str, list[str]]) -> None:
    stored = json.dumps(Command.objects.get(tenant=tenant, target_id="r").payload)
    assert not any(value in stored for value in (CARD, IBAN, WORD))
    assert "shown-name" in stored


def test_a_repeat_with_a_key_is_the_same_request_though_its_payload_is_redacted(tenant: Tenant) -> None:
    from workflows.services.idempotency import command_request

    publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    ask = {
        "actor": make_actor(tenant),
        "action": CommandAction.SEND_EVENT,
        "target_type": "t",
        "target_id": "x",
        "idempotency_key": "k",
    }
    first = command_request(**ask, payload={"password": WORD})
    Command.objects.filter(id=first.command.id).update(state="accepted")
    again = command_request(**ask, payload={"password": WORD})
    assert (first.is_new, again.is_new, again.command.id) == (True, False, first.command.id)
    with pytest.raises(Exception, match="another request"):
        command_request(**ask, payload={"password": "another"})


def test_administrators_change_the_rules_by_page_and_by_api(tenant: Tenant) -> None:
    page, address = reverse("admin:workflows_secret_redaction"), "/api/v1/redaction-rules"
    admin = member_of(tenant, role="admin")
    program = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role.ADMIN)}"})
    assert admin.post(page, {"rules": "/payload/x\r\n\r\n  *iban*  \r\n*iban*"}).status_code == 302
    assert program.get(address).json() == {"rules": ["/payload/x", "*iban*"], "built_in": list(BUILT_IN)}
    assert b"/payload/x\n*iban*" in admin.get(page).content
    put = {"data": json.dumps({"rules": ["cardHolder"]}), "content_type": "application/json"}
    assert program.put(address, **put).json()["rules"] == ["cardHolder"]
    assert redact({"card_holder": WORD}, rules_of(tenant.id)) == {"card_holder": HIDDEN}
    assert b"REDACTION_RULE_INVALID" in admin.post(page, {"rules": "*"}).content
    for wrong in ("x", [5], ["*"], ["/"] * 201):
        answer = program.put(address, json.dumps({"rules": wrong}), content_type="application/json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "REDACTION_RULE_INVALID")
    for role in ("viewer", "operator", "author"):
        client = member_of(tenant, role=role)
        assert client.get(page).status_code == client.post(page, {"rules": ""}).status_code == 403
        other = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role(role))}"})
        assert other.get(address).status_code == other.put(address, **put).status_code == 403
    told = Command.objects.filter(tenant=tenant, action="edit_redaction").order_by("requested_at")
    assert told.values_list("state", "payload").first() == ("observed", ["/payload/x", "*iban*"])
    assert told.filter(state="refused", code="PERMISSION_DENIED").count() == 6
    assert rules_of(tenant.id) == compiled(("cardHolder",))
