"""Secrets in actions: resolved only where the definition refers to them, and scrubbed from all output."""

import base64
from typing import Any

import pytest
from pydantic import BaseModel

from tests.support.action_steps import action_step
from tests.support.factories import expr, publish
from tests.support.fakes import fake_api
from tests.support.system_scope import in_system_scope
from tests.support.tenant_driver import TenantDriver
from workflows.actions import registry
from workflows.models import ActionInvocation, DataStoreEntry, Run, RunStep, Secret
from workflows.services.secrets import secret_delete, secret_save

VALUE = "hunter2-and-more"
MARK, SECRET = "[secret DB_PASSWORD]", {"$secret": "DB_PASSWORD"}


@pytest.fixture
def saved(driver: TenantDriver) -> Secret:
    return secret_save(actor=driver.actor, name="DB_PASSWORD", value=VALUE)[0]


class AnyValue(BaseModel):
    value: Any = None
    number: int = 0


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that registers `run` as the action `test.act`."""

    def register(run: Any, **options: Any) -> None:
        action = registry.Action("test.act", 1, "", options.pop("input_model", AnyValue), AnyValue, run, **options)
        monkeypatch.setitem(registry._actions, ("test.act", 1), action)

    return register


def test_target_receives_the_secret_and_rows_show_its_name(driver: TenantDriver, saved: Secret) -> None:
    basic = base64.b64encode(f"me:{VALUE}".encode()).decode()
    with fake_api(lambda number: (200, {"you": f"said {VALUE}", "basic": basic, "n": 1})) as api:
        body = {"list": [SECRET], "n": expr("payload.n")}
        mapping = {"method": "POST", "url": api.url, "headers": {"X-Key": SECRET}, "body": body}
        publish(driver.tenant, action_step(inputMapping=mapping))
        run = driver.wait_for_run("SUCCEEDED", id=driver.start({"n": 7}).id)
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


def test_event_cannot_refer_to_a_secret(driver: TenantDriver, saved: Secret) -> None:
    """A value with the shape of a reference that comes from an expression is data and is sent unchanged."""
    mapping = {
        "method": "POST",
        "headers": {"X-Key": SECRET},
        "body": {"theirs": expr("payload.asked")},
    }
    with fake_api() as api:
        trigger = {"type": "event", "eventName": "ASKED", "payloadMapping": {"asked": expr("event.payload.body")}}
        publish(driver.tenant, action_step(inputMapping={**mapping, "url": api.url}), trigger=trigger)
        driver.send("ASKED", {"body": SECRET})
        run = driver.wait_for_run("SUCCEEDED")
    (request,) = api.requests
    assert request.headers["X-Key"] == VALUE
    assert request.body == b'{"theirs":{"$secret":"DB_PASSWORD"}}'
    assert run.input == {"asked": SECRET}


def test_mapped_event_payload_resolves_no_secret(driver: TenantDriver, saved: Secret) -> None:
    with fake_api() as api:
        publish(
            driver.tenant, action_step(inputMapping={"method": "POST", "url": api.url, "body": expr("payload.body")})
        )
        driver.wait_for_run("SUCCEEDED", id=driver.start({"body": {"a": [SECRET, {"b": SECRET}]}}).id)
    assert api.requests[0].body == b'{"a":[{"$secret":"DB_PASSWORD"},{"b":{"$secret":"DB_PASSWORD"}}]}'
    saved.refresh_from_db()
    assert saved.last_used_at is None


def test_failure_hides_the_secret_and_each_attempt_reads_it_again(driver: TenantDriver, saved: Secret) -> None:
    @in_system_scope
    def answer(number: int) -> tuple[int, Any]:
        secret_save(actor=driver.actor, name="DB_PASSWORD", value=f"{VALUE}-{number + 1}")
        return 503, {"error": f"{VALUE} is wrong", "cut": "x" * 1950 + VALUE * 5}

    with fake_api(answer) as api:
        mapping = {"url": api.url, "headers": {"X-Key": SECRET}}
        publish(driver.tenant, action_step(inputMapping=mapping, retry={"maxAttempts": 2, "backoffMs": 1}))
        run = driver.wait_for_run("FAILED", id=driver.start().id)
    assert [request.headers["X-Key"] for request in api.requests] == [VALUE, f"{VALUE}-2"]
    first = RunStep.objects.get(run=run, attempt=1)
    assert (first.error["code"], f"{MARK} is wrong" in first.error["details"]["body"]) == ("HTTP_503", True)
    assert "hunt" not in str(first.error)


def raises_with_value(value: Any, context: registry.ActionContext) -> Any:
    raise ValueError(f"cannot log in with {value.value!r}")


def returns_invalid_output(value: Any, context: registry.ActionContext) -> Any:
    """Return an invalid value. Pydantic quotes it in its message, without the middle part."""
    return {"number": value.value * 9}


@pytest.mark.parametrize("run", [raises_with_value, returns_invalid_output])
def test_exception_hides_the_secret(driver: TenantDriver, saved: Secret, act: Any, run: Any) -> None:
    act(run)
    publish(driver.tenant, action_step(action="test.act", inputMapping={"value": SECRET}))
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert failed.error_code == "ACTION_RAISED"
    assert MARK in failed.error["message"]
    assert not any(part in str(failed.error) for part in (VALUE, "hunt", "more"))


def test_invalid_input_hides_the_secret(driver: TenantDriver, saved: Secret, act: Any) -> None:
    class Strict(BaseModel):
        value: int

    act(lambda value, context: value, input_model=Strict)
    publish(driver.tenant, action_step(action="test.act", inputMapping={"value": SECRET}))
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert failed.error_code == "ACTION_INPUT_INVALID"
    assert VALUE not in str(failed.error)


def test_computed_idempotency_key_hides_the_secret(driver: TenantDriver, saved: Secret, act: Any) -> None:
    act(
        lambda value, context: AnyValue(value=context.idempotency_key),
        idempotency_key=lambda value: f"order/{value.value}",
    )
    publish(driver.tenant, action_step(action="test.act", inputMapping={"value": SECRET}))
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert ActionInvocation.objects.get(run=run).idempotency_key == f"order/{MARK}"


def test_stored_output_is_returned_without_a_second_execution(driver: TenantDriver, saved: Secret) -> None:
    with fake_api(lambda number: (200, {"said": VALUE})) as api:
        publish(
            driver.tenant,
            action_step(idempotencyKey=expr("'k'"), inputMapping={"url": api.url, "headers": {"X-Key": SECRET}}),
        )
        outputs = []
        for run in (driver.start(), driver.start()):
            driver.wait_for_run("SUCCEEDED", id=run.id)
            outputs.append(RunStep.objects.get(run=run).output["body"])
    assert (len(api.requests), outputs) == (1, [{"said": MARK}] * 2)


def failed_with(driver: TenantDriver, code: str, category: str, attempts: int) -> Run:
    publish(
        driver.tenant,
        action_step(
            retry={"maxAttempts": 2, "backoffMs": 1}, inputMapping={"url": "http://127.0.0.1:9/", "body": SECRET}
        ),
    )
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_code, failed.error_category) == (code, category)
    assert RunStep.objects.filter(run=failed).count() == attempts
    return failed


def test_unknown_secret_is_not_retried(driver: TenantDriver, saved: Secret) -> None:
    secret_delete(actor=driver.actor, name="DB_PASSWORD")
    failed = failed_with(driver, "SECRET_UNKNOWN", "ValidationError", 1)
    assert "there is no secret DB_PASSWORD" in failed.error["message"]
    assert not ActionInvocation.objects.filter(run=failed).exists()


def test_missing_encryption_key_is_retried_and_named(driver: TenantDriver, saved: Secret) -> None:
    Secret.objects.filter(id=saved.id).update(key_id="2019")
    failed = failed_with(driver, "SECRET_UNREADABLE", "TransientError", 2)
    assert "with the key '2019'" in failed.error["message"]


def test_published_action_that_would_store_a_secret_is_refused(
    driver: TenantDriver, saved: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflows.services.definitions import problems

    monkeypatch.setattr(problems, "actions_without_secrets", frozenset)
    publish(driver.tenant, action_step(action="store.set", inputMapping={"key": "k", "value": SECRET}))
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_code, failed.error_category) == ("SECRET_NOT_ALLOWED", "ValidationError")
    assert not DataStoreEntry.objects.filter(tenant=driver.tenant).exists()


def test_secret_of_another_tenant_is_unknown(driver: TenantDriver) -> None:
    from tests.support.factories import make_actor, make_tenant

    secret_save(actor=make_actor(make_tenant()), name="DB_PASSWORD", value=VALUE)
    failed_with(driver, "SECRET_UNKNOWN", "ValidationError", 1)
