"""Secrets in actions: resolved in the activity, only where the definition says so, and gone from all that comes back."""

import base64
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.action_steps import call
from tests.support.desk import Desk
from tests.support.factories import expr, publish
from tests.support.fakes import fake_api
from tests.support.scopes import as_system
from workflows.actions import registry
from workflows.models import ActionInvocation, DataStoreEntry, Run, RunStep, Secret
from workflows.services.secrets import secret_delete, secret_save

VALUE = "hunter2-and-more"
MARK, SECRET = "[secret DB_PASSWORD]", {"$secret": "DB_PASSWORD"}


@pytest.fixture
def saved(desk: Desk) -> Secret:
    return secret_save(actor=desk.actor, name="DB_PASSWORD", value=VALUE)[0]


class Any_(BaseModel):
    value: Any = None
    number: int = 0


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`act(run, **options)` registers `test.act`."""

    def register(run: Any, **options: Any) -> None:
        action = registry.Action("test.act", 1, "", options.pop("input_model", Any_), Any_, run, **options)
        monkeypatch.setitem(registry._actions, ("test.act", 1), action)

    return register


def test_a_secret_reaches_the_target_and_comes_back_as_its_name(desk: Desk, saved: Secret) -> None:
    basic = base64.b64encode(f"me:{VALUE}".encode()).decode()
    with fake_api(lambda number: (200, {"you": f"said {VALUE}", "basic": basic, "n": 1})) as api:
        mapping = {
            "method": "POST", "url": api.url, "headers": {"X-Key": SECRET}, "body": {"list": [SECRET], "n": expr("payload.n")},
        }  # fmt: skip
        publish(desk.tenant, call(inputMapping=mapping))
        run = desk.run_is("SUCCEEDED", id=desk.start({"n": 7}).id)
    (request,) = api.requests
    assert (request.headers["X-Key"], request.body) == (VALUE, b'{"list":["hunter2-and-more"],"n":7}')
    step, invocation = RunStep.objects.get(run=run, step_id="call"), ActionInvocation.objects.get(run=run)
    assert step.input == invocation.input
    assert (step.input["headers"], step.input["body"]) == ({"X-Key": SECRET}, {"list": [SECRET], "n": 7})
    assert step.output == invocation.output
    assert step.output["body"]["you"] == f"said {MARK}"
    assert MARK in step.output["body"]["basic"]
    saved.refresh_from_db()
    assert saved.last_used_at is not None


def test_an_event_cannot_ask_for_a_secret(desk: Desk, saved: Secret) -> None:
    """What has the shape of a reference and comes out of an expression is data, and arrives as that."""
    mapping = {
        "method": "POST",
        "headers": {"X-Key": SECRET},
        "body": {"theirs": expr("payload.asked")},
    }
    with fake_api() as api:
        trigger = {"type": "event", "eventName": "ASKED", "payloadMapping": {"asked": expr("event.payload.body")}}
        publish(desk.tenant, call(inputMapping={**mapping, "url": api.url}), trigger=trigger)
        desk.send("ASKED", {"body": SECRET})
        run = desk.run_is("SUCCEEDED")
    (request,) = api.requests
    assert request.headers["X-Key"] == VALUE
    assert request.body == b'{"theirs":{"$secret":"DB_PASSWORD"}}'
    assert run.input == {"asked": SECRET}


def test_a_whole_mapping_of_an_event_resolves_nothing(desk: Desk, saved: Secret) -> None:
    with fake_api() as api:
        publish(desk.tenant, call(inputMapping={"method": "POST", "url": api.url, "body": expr("payload.body")}))
        desk.run_is("SUCCEEDED", id=desk.start({"body": {"a": [SECRET, {"b": SECRET}]}}).id)
    assert api.requests[0].body == b'{"a":[{"$secret":"DB_PASSWORD"},{"b":{"$secret":"DB_PASSWORD"}}]}'
    saved.refresh_from_db()
    assert saved.last_used_at is None


def test_a_failure_tells_nothing_of_it_and_each_attempt_resolves_anew(desk: Desk, saved: Secret) -> None:
    @as_system
    def answer(number: int) -> tuple[int, Any]:
        secret_save(actor=desk.actor, name="DB_PASSWORD", value=f"{VALUE}-{number + 1}")
        return 503, {"error": f"{VALUE} is wrong", "cut": "x" * 1950 + VALUE * 5}

    with fake_api(answer) as api:
        mapping = {"url": api.url, "headers": {"X-Key": SECRET}}
        publish(
            desk.tenant,
            call(
                inputMapping=mapping,
            )
            | {"retry": {"maxAttempts": 2, "backoffMs": 1}},
        )
        run = desk.run_is("FAILED", id=desk.start().id)
    assert [request.headers["X-Key"] for request in api.requests] == [VALUE, f"{VALUE}-2"]
    first = RunStep.objects.get(run=run, attempt=1)
    assert (first.error["code"], f"{MARK} is wrong" in first.error["details"]["body"]) == ("HTTP_503", True)
    assert "hunt" not in str(first.error)


def raises_it(value: Any, context: registry.ActionContext) -> Any:
    raise ValueError(f"cannot log in with {value.value!r}")


def returns_what_does_not_fit(value: Any, context: registry.ActionContext) -> Any:
    """Pydantic quotes it, without its middle."""
    return {"number": value.value * 9}


@pytest.mark.parametrize("run", [raises_it, returns_what_does_not_fit])
def test_an_exception_tells_nothing_of_it(desk: Desk, saved: Secret, act: Any, run: Any) -> None:
    act(run)
    publish(desk.tenant, call(action="test.act", inputMapping={"value": SECRET}))
    failed = desk.run_is("FAILED", id=desk.start().id)
    assert failed.error_code == "ACTION_RAISED"
    assert MARK in failed.error["message"]
    assert not any(part in str(failed.error) for part in (VALUE, "hunt", "more"))


def test_an_input_that_does_not_fit_tells_nothing_of_it(desk: Desk, saved: Secret, act: Any) -> None:
    class Strict(BaseModel):
        value: int

    act(lambda value, context: value, input_model=Strict)
    publish(desk.tenant, call(action="test.act", inputMapping={"value": SECRET}))
    failed = desk.run_is("FAILED", id=desk.start().id)
    assert failed.error_code == "ACTION_INPUT_INVALID"
    assert VALUE not in str(failed.error)


def test_a_key_that_is_made_of_the_input_does_not_hold_it(desk: Desk, saved: Secret, act: Any) -> None:
    act(
        lambda value, context: Any_(value=context.idempotency_key), idempotency_key=lambda value: f"order/{value.value}"
    )
    publish(desk.tenant, call(action="test.act", inputMapping={"value": SECRET}))
    run = desk.run_is("SUCCEEDED", id=desk.start().id)
    assert ActionInvocation.objects.get(run=run).idempotency_key == f"order/{MARK}"


def test_a_stored_output_is_given_without_a_second_execution(desk: Desk, saved: Secret) -> None:
    with fake_api(lambda number: (200, {"said": VALUE})) as api:
        publish(
            desk.tenant, call(idempotencyKey=expr("'k'"), inputMapping={"url": api.url, "headers": {"X-Key": SECRET}})
        )
        outputs = []
        for run in (desk.start(), desk.start()):
            desk.run_is("SUCCEEDED", id=run.id)
            outputs.append(RunStep.objects.get(run=run).output["body"])
    assert (len(api.requests), outputs) == (1, [{"said": MARK}] * 2)


def failed_with(desk: Desk, code: str, category: str, attempts: int) -> Run:
    publish(
        desk.tenant,
        call(retry={"maxAttempts": 2, "backoffMs": 1}, inputMapping={"url": "http://127.0.0.1:9/", "body": SECRET}),
    )
    failed = desk.run_is("FAILED", id=desk.start().id)
    assert (failed.error_code, failed.error_category) == (code, category)
    assert RunStep.objects.filter(run=failed).count() == attempts
    return failed


def test_an_unknown_secret_is_not_retried(desk: Desk, saved: Secret) -> None:
    secret_delete(actor=desk.actor, name="DB_PASSWORD")
    failed = failed_with(desk, "SECRET_UNKNOWN", "ValidationError", 1)
    assert "there is no secret DB_PASSWORD" in failed.error["message"]
    assert not ActionInvocation.objects.filter(run=failed).exists()


def test_a_lost_key_is_retried_by_the_authors_policy_and_says_whose_turn_it_is(desk: Desk, saved: Secret) -> None:
    Secret.objects.filter(id=saved.id).update(key_id="2019")
    failed = failed_with(desk, "SECRET_UNREADABLE", "TransientError", 2)
    assert "under the key '2019'" in failed.error["message"]


def test_an_action_that_would_store_it_in_clear_is_refused_also_when_it_was_published(
    desk: Desk, saved: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.services import definitions

    monkeypatch.setattr(definitions, "actions_without_secrets", frozenset)
    publish(desk.tenant, call(action="store.set", inputMapping={"key": "k", "value": SECRET}))
    failed = desk.run_is("FAILED", id=desk.start().id)
    assert (failed.error_code, failed.error_category) == ("SECRET_NOT_ALLOWED", "ValidationError")
    assert not DataStoreEntry.objects.filter(tenant=desk.tenant).exists()


def test_another_tenants_secret_is_unknown(desk: Desk) -> None:
    from tests.support.factories import make_actor, make_tenant

    secret_save(actor=make_actor(make_tenant()), name="DB_PASSWORD", value=VALUE)
    failed_with(desk, "SECRET_UNKNOWN", "ValidationError", 1)
