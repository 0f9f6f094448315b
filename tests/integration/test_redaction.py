"""Redaction (PRODUCT 9): values under telling keys and at named places, on every screen and in every answer."""

import json

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import make_actor, make_run, make_token, publish
from tests.integration.test_events import open_wait
from tests.integration.test_screens import member_of
from workflows.ledger import command_open
from workflows.models import ActionInvocation, Command, HumanTask, RunStep, Tenant
from workflows.projections import projection_writer
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
    first, is_new = command_request(**ask, payload={"password": WORD})
    Command.objects.filter(id=first.id).update(state="accepted")
    again, is_new_again = command_request(**ask, payload={"password": WORD})
    assert (is_new, is_new_again, again.id) == (True, False, first.id)
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
