"""Redaction of values on every screen and in every response (docs/reference/administration.md#tenants-and-roles)."""

import json
from datetime import timedelta
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
from workflows.engine.records import FilterMismatch, VerdictRecord
from workflows.event_redaction import EventRedaction
from workflows.ledger import command_open
from workflows.models import ActionInvocation, Command, Event, EventDelivery, EventType, HumanTask, RunStep, Tenant
from workflows.projections.transaction import projection_writer
from workflows.projections.verdicts import record_verdicts
from workflows.redaction import (
    BUILT_IN,
    HIDDEN,
    MAX_KEY_LENGTH,
    MAX_VALUES,
    NOT_SHOWN,
    compiled,
    redact,
    redact_filters,
    restored,
    rule_problem,
    rules_of,
)
from workflows.statuses import CommandAction, Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")
CARD, IBAN, WORD = "4111-1111", "AT61-1904", "open-sesame"
RULES = ["/payload/card/number", "/input/cards/*/number", "*iban*"]


# -- Rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    ["password", "userPassword", "DB_PASSWORD", "secret", "client-secret", "token", "accessToken", "Authorization",
     "proxy-authorization", "api_key", "apiKey", "X-Api-Key", "API KEY", "private_key", "credentials", "Set-Cookie",
     "cookie", "passphrase"],
)  # fmt: skip
def test_built_in_keys_hide_every_value(key: str) -> None:
    for value in (WORD, 12345, [WORD], {"x": WORD}):
        assert redact({"a": [{key: value, "b": 1}]}, compiled()) == {"a": [{key: HIDDEN, "b": 1}]}


def test_empty_values_and_booleans_are_shown() -> None:
    value = {"password": None, "has_token": True, "secret": "", "tokens": [], "monkey": "x", "key": "y", "pass": 1}
    assert redact(value, compiled()) == value
    assert redact("password", compiled()) == "password"


def test_only_a_valid_reference_to_a_secret_is_shown() -> None:
    reference = {"$secret": "DB_PASSWORD"}
    assert redact({"password": reference, "x": [reference]}, compiled()) == {"password": reference, "x": [reference]}
    assert redact({"$secret": WORD}, compiled()) == {"$secret": HIDDEN}


def test_pairs_of_name_and_value_are_redacted_by_name() -> None:
    pairs = [
        {"name": "Authorization", "value": WORD},
        {"key": "api-key", "value": WORD},
        {"name": "Accept", "value": "x"},
    ]
    assert [pair["value"] for pair in redact(pairs, compiled())] == [HIDDEN, HIDDEN, "x"]


def test_pointer_starts_with_the_name_of_the_object() -> None:
    rules = compiled(("/payload/card/number", "/payload/items/*/price", "/output", "/payload/a~1b", "/payload/flag"))
    payload = {"card": {"number": 1, "name": "x"}, "items": [{"price": 1}, {"price": [2]}], "a/b": 1, "flag": False}
    hidden = {
        "card": {"number": HIDDEN, "name": "x"}, "items": [{"price": HIDDEN}] * 2, "a/b": HIDDEN, "flag": HIDDEN,
    }  # fmt: skip
    assert redact(payload, rules, "/payload") == hidden
    assert redact({"payload": payload, "output": 5}, rules) == {"payload": hidden, "output": HIDDEN}
    assert redact({"deep": 1}, rules, "/output") == redact({"deep": 1}, rules, "/output/deeper") == HIDDEN
    assert redact(payload, rules, "/input") == payload


def test_patterns_of_the_tenant_apply_at_every_depth() -> None:
    rules = compiled(("*iban*", "birth?ate"))
    assert redact({"x": [{"customerIBAN": IBAN, "birth_date": "y"}]}, rules) == {
        "x": [{"customerIBAN": HIDDEN, "birth_date": HIDDEN}]
    }


def test_filters_are_redacted_like_the_payload() -> None:
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


def test_invalid_rules_are_reported_and_stored_ones_are_ignored(tenant: Tenant) -> None:
    assert [rule_problem(rule) for rule in ["/payload/x", "*iban*", *BUILT_IN]] == [None] * (2 + len(BUILT_IN))
    assert all(rule_problem(rule) for rule in [5, "", "  ", "/", "*", "*_*", "x" * 501])
    for stored in (None, 5, {"a": 1}, [5, None, "*iban*", ""]):
        Tenant.objects.filter(id=tenant.id).update(redaction_rules=stored if stored is not None else [])
        assert redact({"password": WORD, "x": 1}, rules_of(tenant.id)) == {"password": HIDDEN, "x": 1}


def test_edit_keeps_the_values_that_are_still_hidden() -> None:
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


# -- Pages and responses ----------------------------------------------------------------------------------------------

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
    """Return pages and API paths of rows that have hidden values."""
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=RULES)
    run = make_run(tenant, input=PAYLOAD, error=ERROR, error_category="ActionError", trigger_metadata={"token": WORD})
    open_wait(tenant, run=run, filters=[{"path": "card.number", "op": "=", "value": CARD}])
    inside = {"cards": [{"number": CARD, "name": "shown-name"}], "headers": {"Authorization": WORD}}
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path="root.steps[0]", step_id="c", step_type="action.call", attempt=1,
            action_id="http.request", action_version=1, status="FAILED", started_at=timezone.now(), input=inside,
            output={"body": {"iban": IBAN}, "x": "shown-name"}, error=ERROR,
        )  # fmt: skip
    ActionInvocation.objects.create(
        tenant=tenant, run=run, action_id="http.request", action_version=1, idempotency_key="k", input=inside,
        output={"body": PAYLOAD | {"card": None}}, error=ERROR,
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
        for tab in ("steps", "events", "input", "audit")
    ]
    pages += [
        reverse("admin:workflows_humantask_change", args=[task.id]),
        reverse("admin:workflows_command_change", args=[command.id]),
    ]
    api = [f"/api/v1/runs/{run.id}{part}" for part in ("", "/steps", "/waits", "/invocations")]
    api += ["/api/v1/runs", f"/api/v1/tasks/{task.id}", f"/api/v1/commands/{command.id}", "/api/v1/commands"]
    return {"pages": pages, "api": api}


def test_no_page_and_no_response_shows_a_hidden_value(tenant: Tenant, addresses: dict[str, list[str]]) -> None:
    admin = member_of(tenant, role="admin")
    program = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role.ADMIN)}"})
    shown = ""
    for client, kind in ((admin, "pages"), (program, "api")):
        for address in addresses[kind]:
            response = client.get(address)
            assert response.status_code == 200, address
            found = [value for value in (CARD, IBAN, WORD) if value in response.content.decode()]
            assert found == [], address
            shown += response.content.decode()
    assert shown.count(HIDDEN) > 20
    assert shown.count("shown-name") > 5


def test_without_redaction_every_page_shows_a_hidden_value(
    tenant: Tenant, addresses: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that the test above can fail: without redaction each of its addresses shows a value."""
    from workflows.admin import human_tasks, ledger, run_replay
    from workflows.api import serializers
    from workflows.templatetags import pointsman

    for module in (ledger, run_replay, serializers, pointsman, human_tasks):
        if hasattr(module, "redact"):
            monkeypatch.setattr(module, "redact", lambda value, *rest, **more: value)
        if hasattr(module, "redact_filters"):
            monkeypatch.setattr(module, "redact_filters", lambda filters, rules: filters)
        if hasattr(module, "redact_task"):
            monkeypatch.setattr(module, "redact_task", lambda task, value, rules, at: value)
    program = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role.ADMIN)}"})
    for client, kind in ((member_of(tenant, role="admin"), "pages"), (program, "api")):
        for address in addresses[kind]:
            shows = any(value in client.get(address).content.decode() for value in (CARD, IBAN, WORD))
            assert shows or "tab=actions" in address, address


# -- Events -----------------------------------------------------------------------------------------------------------

# The payload of `PAID`. Its key and its filters use hidden paths.
PAID = {"card": {"number": CARD, "name": "shown-name"}, "iban": IBAN, "login": {"password": WORD}, "open": "shown-name"}
CATALOGUE = ["iban", "open", "card", "login.password"]


@pytest.fixture
def event(tenant: Tenant) -> Event:
    """Return an event with hidden values in its keys, traces, near misses and reasons.

    Its deliveries are filtered, dead and skipped.
    """
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=RULES)
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=CATALOGUE)
    paid = {"event_type": "PAID", "payload": PAID, "workflow_correlation_key": None}
    open_wait(tenant, key=IBAN, name="OTHER")
    near = receive(tenant, **paid)
    event_route(near.id)  # a near miss under this key, and no delivery
    # Waits that open now do not find this event, because its buffer time is over.
    long_ago = timezone.now() - timedelta(minutes=2)
    Event.objects.filter(id=near.id).update(received_at=long_ago, routed_at=long_ago)
    filters = [{"path": "card.number", "op": "=", "value": f"{CARD}-9"}]
    open_wait(tenant, key=IBAN, name="PAID", filters=filters)
    open_wait(tenant, key=WORD, name="PAID", filters=[{"path": "card", "op": "=", "value": {"number": CARD}}])
    publish(
        tenant,
        {"id": "s", "type": "state.set", "config": {"state": "X"}},
        key="moved",
        trigger={
            "type": "event",
            "eventName": "PAID",
            "payloadMapping": {"moved": expr("event.payload.iban"), "as": "shown-name"},
        },
    )
    event = receive(tenant, **paid)
    event_route(event.id)
    event.refresh_from_db()
    assert (near.correlation_keys, len(near.correlation_trace)) == ([IBAN, "shown-name", WORD], 7)
    first, second, start = EventDelivery.objects.filter(event=event).order_by("kind", "created_at", "id").reverse()
    reasons = (
        ("filtered", "the filter on card.number does not match", first_mismatch(filters, PAID)),
        ("dead", f"ValueError: shown-name, {PAID!r} and {json.dumps(PAID)}", None),
        ("skipped", f"the payload mapping failed: both keys are {IBAN!r}", None),
    )
    for delivery, (status, reason, mismatch) in zip((first, second, start), reasons, strict=True):
        delivery.status, delivery.reason, delivery.mismatch = status, reason, mismatch
        delivery.attempts, delivery.decided_at = 1, timezone.now()
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


def event_responses(event: Event) -> list[tuple[str, str]]:
    """Return each page and API response about the event that an operator sees, with its address.

    "What if" receives the event as it is stored.
    """
    tenant: Any = event.tenant
    member, program = member_of(tenant), Api(make_token(tenant, Role.OPERATOR))
    addresses = event_addresses(event)
    responses = [(address, member.get(address).content.decode()) for address in addresses["pages"]]
    what_if = reverse("admin:workflows_event_what_if")
    form = {"event": what_if_text(member, event), "stored": str(event.id)}
    responses.append((what_if, member.post(what_if, form).content.decode()))
    by_path = reverse("admin:workflows_event_what_if_correlation")
    paths = {"PAID": ["card.number", "login.password"]}
    responses.append((by_path, member.post(by_path, {"paths": json.dumps(paths), "last": 10}).content.decode()))
    responses += [
        (address, program.get(address.removeprefix("/api/v1")).content.decode()) for address in addresses["api"]
    ]
    found = program.post("/events/what-if", {"event_type": "PAID", "payload": PAID}).json()
    responses.append(("/events/what-if", json.dumps(found)))
    responses.append(("/event-types/what-if", program.post("/event-types/what-if", {"paths": paths}).content.decode()))
    dead = [str(row.id) for row in EventDelivery.objects.filter(event=event, status="dead")]
    dry_run = program.post("/deliveries/redeliver", {"ids": dead, "dry_run": True})
    responses.append(("dry run", dry_run.content.decode()))
    return responses


def what_if_text(member: Client, event: Event) -> str:
    """Return the text of the event in the form of "what if"."""
    page = member.get(reverse("admin:workflows_event_what_if"), {"event": str(event.id)})
    return str(page.context["form"]["event"].value())


def values_in(text: str) -> list[str]:
    return [value for value in (CARD, IBAN, WORD) if value in text]


def test_keys_traces_and_reasons_of_events_are_redacted(event: Event) -> None:
    responses = event_responses(event)
    assert {address: values_in(text) for address, text in responses} == {address: [] for address, _ in responses}
    assert [address for address, text in responses if HIDDEN not in text] == []
    assert sum(text.count("shown-name") for _, text in responses) > 10


def test_without_redaction_every_response_about_an_event_shows_a_value(
    event: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that the test above can fail."""
    monkeypatch.setattr(event_redaction, "redact", lambda value, *rest, **more: value)
    monkeypatch.setattr(event_redaction, "redact_at", lambda path, value, rules: value)
    assert [address for address, text in event_responses(event) if not values_in(text)] == []


def test_viewers_do_not_see_more_than_operators(event: Event) -> None:
    viewer, program = member_of(event.tenant, role="viewer"), Api(make_token(event.tenant, Role.VIEWER))
    addresses = event_addresses(event)
    shown = [viewer.get(address).content.decode() for address in addresses["pages"][:5]]
    shown += [program.get(address.removeprefix("/api/v1")).content.decode() for address in addresses["api"]]
    assert [values_in(text) for text in shown] == [[]] * len(shown)


def test_run_page_redacts_reasons_like_the_event_page(event: Event) -> None:
    for delivery in EventDelivery.objects.filter(event=event, kind="wait").exclude(wait__correlation_key=IBAN):
        page = member_of(event.tenant).get(
            reverse("admin:workflows_run_change", args=[delivery.run_id]) + "?tab=events"
        )
        assert CARD not in page.content.decode()


FILTERS: list[tuple[str, str, Any, Any, str]] = [
    ("card.number", "=", "x", PAID, f"card.number = {HIDDEN} does not match: the value is {HIDDEN}"),
    ("iban", "not_exists", None, PAID, f"iban not_exists does not match: the value is {HIDDEN}"),
    ("iban", "exists", None, {}, "iban exists does not match: the value is missing"),
    ("iban", "in", [IBAN], {}, f"iban in {HIDDEN} does not match: the value is missing"),
    ("card", "=", 5, PAID,
     f'card = {HIDDEN} does not match: the value is {{"number": "{HIDDEN}", "name": "shown-name"}}'),
    ("login.password.x", "=", WORD, {"login": 5},
     f"login.password.x = {HIDDEN} does not match: the value is missing"),
    ("login.password.x", "=", "y", {"login": {"password": {"x": WORD}}},
     f"login.password.x = {HIDDEN} does not match: the value is {HIDDEN}"),
    ("x", "=", {"token": WORD}, {"x": 1}, f"x = {HIDDEN} does not match: the value is 1"),
    ("x", "in", [{"token": WORD}], {"x": 1}, f"x in {HIDDEN} does not match: the value is 1"),
    ("headers.0.value", "=", "y", {"headers": [{"name": "Cookie", "value": WORD}]},
     f"headers.0.value = {HIDDEN} does not match: the value is {HIDDEN}"),
    # A hidden value that is also at another path.
    ("note", "=", f"not {IBAN}", {"iban": IBAN, "note": f"to {IBAN}"},
     f'note = "not {HIDDEN}" does not match: the value is "to {HIDDEN}"'),
    ("amount", "=", 4711, {"iban": 4711, "amount": 1}, f"amount = {HIDDEN} does not match: the value is 1"),
    ("card.name", "=", "y", PAID, 'card.name = "y" does not match: the value is "shown-name"'),
    ("amount", ">", 100, {"amount": 7}, "amount > 100 does not match: the value is 7"),
    ("flag", "=", True, {"flag": None}, "flag = true does not match: the value is null"),
    ("text", "=", "w" * 490, {"text": "x" * 300},
     f'text = "{"w" * 198}… does not match: the value is "{"x" * 198}…'),
    ("text", "=", "w" * 600, {"text": ""}, 'text = … does not match: the value is ""'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "op", "value", "payload", "sentence"), FILTERS)
def test_mismatch_is_redacted_by_the_path_of_the_filter(
    path: str, op: str, value: Any, payload: Any, sentence: str
) -> None:
    condition = {"path": path, "op": op, **({} if op in ("exists", "not_exists") else {"value": value})}
    mismatch = first_mismatch([condition], payload)
    redaction = EventRedaction(Event(payload=payload, correlation_trace=[]), compiled(tuple(RULES)))
    assert redaction.reason("unused", mismatch) == f"the filter {sentence}"


def test_mismatch_is_shown_only_for_a_filtered_delivery() -> None:
    event = Event(payload={"amount": 7}, correlation_trace=[])
    mismatch = first_mismatch([{"path": "amount", "op": ">", "value": 100}], event.payload)
    delivery = EventDelivery(event=event, status="filtered", reason="the filter on amount", mismatch=mismatch)
    redaction = EventRedaction(event, compiled())
    assert redaction.delivery_reason(delivery) == "the filter amount > 100 does not match: the value is 7"
    delivery.status = "late"
    assert redaction.delivery_reason(delivery) == "the filter on amount"


@pytest.mark.parametrize("is_old", [False, True])
def test_verdict_is_stored_from_new_and_old_records(tenant: Tenant, is_old: bool) -> None:
    """Histories that were recorded before `mismatch` existed have only a sentence."""
    wait, event = open_wait(tenant), receive(tenant)
    event_route(event.id)
    mismatch: FilterMismatch = {"code": "FILTER_MISMATCH", "path": "amount", "op": ">", "value": 5}
    record: VerdictRecord = {
        "kind": "verdict", "seq": 5, "at": 1_000, "waitId": str(wait.id), "eventId": event.event_id,
        "verdict": "filtered", "reason": "filter amount > 5 does not hold: the value is 3",
    }  # fmt: skip
    if not is_old:
        record |= {"reason": "the filter on amount does not match", "mismatch": mismatch}
    record_verdicts([record], run=wait.run)
    delivery = EventDelivery.objects.get(event=event)
    assert (delivery.status, delivery.reason) == ("filtered", record["reason"])
    assert delivery.mismatch == (None if is_old else mismatch)
    shown = EventRedaction(event, compiled()).delivery_reason(delivery)
    assert shown == (record["reason"] if is_old else "the filter amount > 5 does not match: the value is missing")


def test_other_sentences_are_searched_for_hidden_values() -> None:
    def redacted(text: str, **payload: Any) -> str:
        return EventRedaction(Event(payload=payload), compiled()).reason(text)

    for value in ("it's \n so", 'it\'s "so" \n', "\u00fc\n\t"):
        assert redacted(f"it is {value!r}, no", secret=value) in (f"it is '{HIDDEN}', no", f'it is "{HIDDEN}", no')
        assert redacted(f"it is {json.dumps(value)}", secret=value) == f'it is "{HIDDEN}"'
    assert redacted("7 of 17, 7.5 and v7", pwd=7) == f"{HIDDEN} of 17, 7.5 and v7"
    assert redacted("abc in abcd, 'abc'", pwd="abc") == f"{HIDDEN} in abcd, '{HIDDEN}'"
    assert redacted(f"both are {'k' * 80!r}, no", pwd="k" * 300) == f"both are '{HIDDEN}', no"
    assert redacted(f"{'x' * 490}: 'swordfish"[:500], pwd="swordfish") == f"{'x' * 490}: '{HIDDEN}"
    assert redacted("it is open", pwd="opened") == "it is open"
    assert redacted("no: w7", secrets=[f"w{number}" for number in range(200)]) == f"no: {HIDDEN}"
    assert redacted("no: x", secret=False, token=None, pwd="") == "no: x"


def test_value_that_a_mapping_moved_is_hidden_at_its_new_path() -> None:
    redaction = EventRedaction(Event(payload={**PAID, "pwd": 4711}), compiled(tuple(RULES)))
    made = {"a": IBAN, "b": [f"to {IBAN}"], "c": 4711, "d": True, "e": 4712, "iban": "other", "f": "shown-name"}
    assert redaction.made(made) == {
        "a": HIDDEN, "b": [f"to {HIDDEN}"], "c": HIDDEN, "d": True, "e": 4712, "iban": HIDDEN, "f": "shown-name",
    }  # fmt: skip


def test_near_miss_with_a_hidden_key_is_shown_without_the_key(tenant: Tenant) -> None:
    Tenant.objects.filter(id=tenant.id).update(redaction_rules=["*iban*"])
    EventType.objects.create(tenant=tenant, name="PAID", correlation_paths=["iban"])
    wait = open_wait(tenant, key="AT-another", name="PAID")
    event = receive(tenant, event_type="PAID", payload={"iban": IBAN}, workflow_correlation_key=None)
    event_route(event.id)
    text = Api(make_token(tenant)).get(f"/events/{event.id}/trace").content.decode()
    assert "AT-another" not in text
    assert f"Near miss: run {wait.run_id} of {wait.run.definition_key} (the wait has another key)." in text


# -- What if ----------------------------------------------------------------------------------------------------------


def test_what_if_uses_the_hidden_values_of_a_stored_event(event: Event) -> None:
    member, address = member_of(event.tenant), reverse("admin:workflows_event_what_if")
    text = what_if_text(member, event)
    assert (values_in(text), text.count(HIDDEN)) == ([], 3)
    page = member.get(address, {"event": str(event.id)}).content.decode()
    assert f'name="stored" value="{event.id}"' in page

    def what_if(stored: str, **changes: Any) -> Any:
        value = {**json.loads(text), **changes}
        return member.post(address, {"event": json.dumps(value), "stored": stored}).context["result"]

    expected = event_what_if(actor=make_actor(event.tenant), value={"event_type": "PAID", "payload": PAID})
    found = what_if(str(event.id))
    assert [wait["wait_id"] for wait in found["waits"]] == [wait["wait_id"] for wait in expected["waits"]] != []
    assert found["correlation"]["keys"] == expected["correlation"]["keys"] == [HIDDEN, "shown-name", HIDDEN]
    assert what_if("")["waits"] == []  # the text itself has only redacted keys
    changed = {**json.loads(text)["payload"], "iban": "changed", "login": None}
    assert what_if(str(event.id), payload=changed)["waits"] == []
    other = receive(make_tenant(), event_type="PAID", payload=PAID)
    for wrong in (str(other.id), "nonsense"):
        assert member.post(address, {"event": text, "stored": wrong}).status_code == 404


# -- Ledger and rules -------------------------------------------------------------------------------------------------


def test_ledger_is_redacted_when_it_is_written(tenant: Tenant, addresses: dict[str, list[str]]) -> None:
    stored = json.dumps(Command.objects.get(tenant=tenant, target_id="r").payload)
    assert not any(value in stored for value in (CARD, IBAN, WORD))
    assert "shown-name" in stored


def test_idempotency_key_compares_payloads_before_redaction(tenant: Tenant) -> None:
    from workflows.services.idempotency import command_request

    publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    request = {
        "actor": make_actor(tenant),
        "action": CommandAction.SEND_EVENT,
        "target_type": "t",
        "target_id": "x",
        "idempotency_key": "k",
    }
    first = command_request(**request, payload={"password": WORD})
    Command.objects.filter(id=first.command.id).update(state="accepted")
    again = command_request(**request, payload={"password": WORD})
    assert (first.is_new, again.is_new, again.command.id) == (True, False, first.command.id)
    with pytest.raises(Exception, match="another request"):
        command_request(**request, payload={"password": "another"})


def test_only_administrators_change_the_rules_by_page_and_by_api(tenant: Tenant) -> None:
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
        response = program.put(address, json.dumps({"rules": wrong}), content_type="application/json")
        assert (response.status_code, response.json()["error"]["code"]) == (400, "REDACTION_RULE_INVALID")
    for role in ("viewer", "operator", "author"):
        client = member_of(tenant, role=role)
        assert client.get(page).status_code == client.post(page, {"rules": ""}).status_code == 403
        other = Client(headers={"Authorization": f"Bearer {make_token(tenant, Role(role))}"})
        assert other.get(address).status_code == other.put(address, **put).status_code == 403
    commands = Command.objects.filter(tenant=tenant, action="edit_redaction").order_by("requested_at")
    assert commands.values_list("state", "payload").first() == ("observed", ["/payload/x", "*iban*"])
    assert commands.filter(state="refused", code="PERMISSION_DENIED").count() == 6
    assert rules_of(tenant.id) == compiled(("cardHolder",))


def test_redaction_has_a_budget() -> None:
    rules = compiled(("*iban*",))
    large = {"list": list(range(MAX_VALUES)), "iban": "DE-77", "after": {"iban": "DE-77"}}
    shown = redact(large, rules)
    assert shown["list"][:3] == [0, 1, 2]
    assert (shown["list"][-1], shown["iban"], shown["after"]) == (NOT_SHOWN, NOT_SHOWN, NOT_SHOWN)
    assert redact({"k" * (MAX_KEY_LENGTH + 1): "a", "k" * MAX_KEY_LENGTH: "b"}, rules) == {
        "k" * (MAX_KEY_LENGTH + 1): "[redacted]",
        "k" * MAX_KEY_LENGTH: "b",
    }
