"""Actions that a worker executes: output, errors, retries, and one effect per idempotency key."""

import threading
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.urls import reverse
from pydantic import BaseModel

from tests.support.action_steps import action_step
from tests.support.factories import eventually, expr, publish
from tests.support.fakes import fake_api
from tests.support.members import member_of
from tests.support.tenant_driver import TenantDriver
from tests.support.workers import running_temporal_worker
from workflows.models import ActionInvocation, Notification, Run, RunStep, RunWait, TenantMembership
from workflows.selectors.run_list import RETRYING, runs_of_shown_status, shown_status_counts
from workflows.selectors.step_counts import OpenNumbers, open_runs
from workflows.services.missing_actions import missing_action_of
from workflows.services.runs.control import run_cancel


def http(url: str, **fields: Any) -> dict[str, Any]:
    return {"inputMapping": {"method": "POST", "url": url, "body": {"n": expr("payload.n")}, **fields}}


def test_http_call_sends_body_and_key_and_stores_the_response(driver: TenantDriver) -> None:
    with fake_api(lambda number: (201, {"id": 5})) as api:
        publish(
            driver.tenant,
            action_step(**http(f"{api.url}/hook?x=1", headers={"X-Own": "1"})),
            {"id": "s", "type": "state.set", "config": {"state": "DONE"}},
        )
        run = driver.start({"n": 7})
        driver.wait_for_run("SUCCEEDED", id=run.id)
    (request,) = api.requests
    assert (request.method, request.path, request.body, request.headers["X-Own"]) == (
        "POST",
        "/hook?x=1",
        b'{"n":7}',
        "1",
    )
    assert request.headers["Idempotency-Key"] == f"{run.id}/root.steps[0]"
    step = RunStep.objects.get(run=run, step_id="call")
    assert (step.status, step.output["status"], step.output["body"], step.input["body"]) == (
        "SUCCEEDED",
        201,
        {"id": 5},
        {"n": 7},
    )
    invocation = ActionInvocation.objects.get(run=run)
    assert (invocation.status, invocation.executions, invocation.output["body"]) == ("SUCCEEDED", 1, {"id": 5})
    types = driver.history_types(run)
    assert types.count("ACTIVITY_TASK_SCHEDULED") == 2  # the action, and the write of the last records


def test_retries_follow_the_retry_policy_and_have_rows(driver: TenantDriver) -> None:
    with fake_api(lambda number: (503, {"busy": True}) if number < 3 else (200, {"ok": number})) as api:
        publish(driver.tenant, action_step(retry={"maxAttempts": 3, "backoffMs": 100}, **http(api.url)))
        run = driver.start({"n": 1})
        driver.wait_for_run("SUCCEEDED", id=run.id)
    assert driver.steps(run) == [
        ("call", 1, "RETRY_SCHEDULED"),
        ("call", 2, "RETRY_SCHEDULED"),
        ("call", 3, "SUCCEEDED"),
    ]
    assert len({request.headers["Idempotency-Key"] for request in api.requests}) == 1
    first = RunStep.objects.get(run=run, attempt=1)
    assert (first.error["code"], first.next_attempt_at is not None) == ("HTTP_503", True)
    assert list(RunWait.objects.filter(run=run).values_list("kind", "status")) == [("retry", "RESOLVED")] * 2
    assert ActionInvocation.objects.get(run=run).executions == 3


def test_run_between_two_attempts_is_shown_as_retrying(driver: TenantDriver) -> None:
    with fake_api(lambda number: (503, {"busy": True})) as api:
        publish(driver.tenant, action_step(retry={"maxAttempts": 3, "backoffMs": 600_000}, **http(api.url)))
        run = driver.start({"n": 1})
        eventually(lambda: RunWait.objects.filter(run=run, kind="retry").exists(), what="the wait for attempt 2")
    runs = Run.objects.filter(tenant=driver.tenant)
    for ranges in ((), (runs.order_by("-created_at"),)):
        counts = shown_status_counts(runs, tenant_id=driver.tenant.id, ranges=ranges)
        assert counts is not None
        assert {status: count for status, count in counts.numbers.items() if count} == {RETRYING: 1}
    for status, found in ((RETRYING, [run]), ("RUNNING", []), ("WAITING", [])):
        assert list(runs_of_shown_status(runs, tenant_id=driver.tenant.id, status=status)) == found
    page = member_of(driver.tenant).get(reverse("admin:workflows_run_changelist")).content.decode()
    assert "Attempt 1 of 3 failed, next attempt <time" in " ".join(page.split())
    assert open_runs(run.definition).versions[1]["root.steps[0]"] == OpenNumbers(open=1, retrying=1)
    run_cancel(actor=driver.actor, run_id=run.id)
    driver.wait_for_run("CANCELED", id=run.id)


def test_error_of_an_action_becomes_the_error_of_the_run(driver: TenantDriver) -> None:
    with fake_api(lambda number: (404, {"no": "such"})) as api:
        publish(driver.tenant, action_step(**http(api.url)))
        run = driver.start({"n": 1})
        failed = driver.wait_for_run("FAILED", id=run.id)
    assert (failed.error_category, failed.error_code) == ("ActionError", "HTTP_404")
    assert failed.error["nodePath"] == "root.steps[0]"
    assert "404" in failed.error["message"]
    driver.history_types_until(run, "WORKFLOW_EXECUTION_FAILED")
    assert RunStep.objects.get(run=run).error == failed.error


@pytest.mark.parametrize(
    ("value", "category", "code"),
    [
        ({"url": "http://10.0.0.1/x"}, "ValidationError", "HTTP_HOST_NOT_ALLOWED"),
        ({"url": "http://[::1]/x"}, "ValidationError", "HTTP_HOST_NOT_ALLOWED"),
        ({"url": "http://169.254.169.254/"}, "ValidationError", "HTTP_HOST_NOT_ALLOWED"),
        ({"url": "ftp://127.0.0.1/"}, "ValidationError", "HTTP_URL_INVALID"),
        ({"url": "http://127.0.0.1:9/"}, "TransientError", "HTTP_FAILED"),
        ({"url": expr("coalesce(payload.url, 5)")}, "ValidationError", "ACTION_INPUT_INVALID"),
    ],
)
def test_http_call_refuses_invalid_input(driver: TenantDriver, value: dict[str, Any], category: str, code: str) -> None:
    publish(driver.tenant, action_step(inputMapping=value))
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_category, failed.error_code) == (category, code)


def test_explicit_idempotency_key_allows_one_effect_for_many_runs(driver: TenantDriver) -> None:
    with fake_api(lambda number: (200, {"number": number})) as api:
        publish(driver.tenant, action_step(idempotencyKey=expr("'order-' & toString(payload.n)"), **http(api.url)))
        runs = [driver.start({"n": 7}) for _ in range(3)]
        for run in runs:
            driver.wait_for_run("SUCCEEDED", id=run.id)
    assert len(api.requests) == 1
    outputs = [RunStep.objects.get(run=run).output["body"] for run in runs]
    assert outputs == [{"number": 1}] * 3


def test_notification_reaches_members_by_role_and_name(driver: TenantDriver) -> None:
    members = {}
    for role in ("viewer", "operator"):
        members[role] = get_user_model().objects.create_user(f"{role}-{driver.tenant.slug}")
        TenantMembership.objects.create(tenant=driver.tenant, user=members[role], role=role)
    stranger = get_user_model().objects.create_user(f"stranger-{driver.tenant.slug}")
    value = {
        "recipients": {"roles": ["operator"], "user_ids": [members["viewer"].username, stranger.username]},
        "title": expr("'Ticket ' & payload.id"), "severity": "warning", "body": "Please call.",
    }  # fmt: skip
    publish(driver.tenant, action_step(action="notifications.send_in_app", inputMapping=value))
    run = driver.wait_for_run("SUCCEEDED", id=driver.start({"id": "T-1"}).id)
    found = Notification.objects.filter(tenant=driver.tenant)
    assert {n.user for n in found} == set(members.values())
    assert {(n.title, n.severity, n.run_id) for n in found} == {("Ticket T-1", "warning", run.id)}
    output = RunStep.objects.get(run=run).output
    assert (output["sent"], output["created"], output["unknown"]) == (2, 2, [stranger.username])
    assert set(output["notification_ids"]) == {str(notification.id) for notification in found}


def test_mail_is_sent_through_the_django_backend(driver: TenantDriver) -> None:
    subject = f"Hello {driver.tenant.slug}"
    publish(
        driver.tenant,
        action_step(action="email.send", inputMapping={"to": ["a@example.org"], "subject": subject, "text": "Zoë"}),
    )
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    (sent,) = [message for message in mail.outbox if message.subject == subject]
    assert (sent.to, sent.body, sent.extra_headers["X-Pointsman-Key"]) == (
        ["a@example.org"],
        "Zoë",
        f"{run.id}/root.steps[0]",
    )


def test_retry_on_an_error_code_repeats_only_this_code(driver: TenantDriver) -> None:
    with fake_api(lambda number: (409, {}) if number < 3 else (418, {})) as api:
        retry = {"maxAttempts": 5, "backoffMs": 1, "retryOn": ["TransientError", "HTTP_409"]}
        publish(driver.tenant, action_step(retry=retry, **http(api.url)))
        run = driver.wait_for_run("FAILED", id=driver.start({"n": 1}).id)
    assert driver.steps(run) == [
        ("call", 1, "RETRY_SCHEDULED"),
        ("call", 2, "RETRY_SCHEDULED"),
        ("call", 3, "FAILED"),
    ]
    assert run.error_code == "HTTP_418"


def test_response_that_cannot_be_stored_fails_the_run(driver: TenantDriver) -> None:
    with fake_api(lambda number: (200, {"text": "\ud800"})) as api:
        publish(driver.tenant, action_step(**http(api.url)))
        failed = driver.wait_for_run("FAILED", id=driver.start({"n": 1}).id)
    assert (failed.error_category, failed.error_code) == ("ValidationError", "VALUE_NOT_STORABLE")


def test_run_continues_after_a_failed_action_with_policy_continue(driver: TenantDriver) -> None:
    step = {**action_step(inputMapping={"url": "ftp://x"}), "onError": {"policy": "continue"}}
    publish(driver.tenant, step, {"id": "s", "type": "state.set", "config": {"state": "AFTER"}})
    run = driver.wait_for_run("SUCCEEDED", id=driver.start().id)
    assert (run.state, driver.steps(run)) == ("AFTER", [("call", 1, "FAILED"), ("s", 1, "SUCCEEDED")])


def test_action_that_this_worker_lacks_is_repeated_until_a_worker_has_it(
    driver: TenantDriver, monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    from workflows.actions import registry

    with fake_api(lambda number: (200, {"number": number})) as api:
        retry = {"maxAttempts": 1}
        publish(driver.tenant, action_step(retry=retry, **http(api.url)))
        action = registry._actions["http.request", 1]
        monkeypatch.delitem(registry._actions, ("http.request", 1))
        run = driver.start({"n": 1})
        found = eventually(lambda: missing_action_of(tenant_id=driver.tenant.id, run_id=run.id))
        assert found == "http.request@1"
        assert "no worker has http.request@1" in client.get("/readyz").json()["warnings"]
        member = get_user_model().objects.create_user(f"m-{driver.tenant.slug}", is_staff=True)
        TenantMembership.objects.create(tenant=driver.tenant, user=member, role="viewer")
        client.force_login(member)
        page = client.get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()
        assert "No worker has <code>http.request@1</code>" in page
        monkeypatch.setitem(registry._actions, ("http.request", 1), action)
        driver.wait_for_run("SUCCEEDED", id=run.id)
    assert driver.steps(run) == [("call", 1, "SUCCEEDED")]
    assert len(api.requests) == 1
    assert missing_action_of(tenant_id=driver.tenant.id, run_id=run.id) is None


class Gate:
    """Answers of a fake API that are held back until `release` is set."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.entered, self.release, self.answers = threading.Event(), threading.Event(), answers

    def __call__(self, number: int) -> tuple[int, Any]:
        self.entered.set()
        self.release.wait(30)
        return self.answers[min(number, len(self.answers)) - 1]


def test_cancel_during_an_action_and_its_late_end_opens_no_row(driver: TenantDriver) -> None:
    gate = Gate((503, {}))
    with fake_api(gate) as api:
        publish(driver.tenant, action_step(retry={"maxAttempts": 5, "backoffMs": 1}, **http(api.url)))
        run = driver.start({"n": 1})
        assert gate.entered.wait(60)
        run_cancel(actor=driver.actor, run_id=run.id)
        driver.wait_for_run("CANCELED", id=run.id)
        gate.release.set()
        eventually(
            lambda: ActionInvocation.objects.filter(run=run, status="FAILED").exists(),
            what="the late end of the action",
        )
    assert (driver.steps(run), RunWait.objects.filter(run=run).count()) == ([("call", 1, "CANCELED")], 0)


def test_action_is_not_failed_when_its_worker_stops(driver: TenantDriver, settings: Any) -> None:
    settings.TEMPORAL_TASK_QUEUE, settings.TEMPORAL_DRAIN_SECONDS = f"own-{driver.tenant.slug}", 0.2
    gate = Gate((200, {"ok": True}))
    with fake_api(gate) as api:
        publish(driver.tenant, action_step(**http(api.url)))
        run = driver.start({"n": 1})
        with running_temporal_worker():
            assert gate.entered.wait(60)
            threading.Timer(1.5, gate.release.set).start()
        with running_temporal_worker():
            driver.wait_for_run("SUCCEEDED", id=run.id)
    assert len({request.headers["Idempotency-Key"] for request in api.requests}) == 1
    assert ActionInvocation.objects.get(run=run).status == "SUCCEEDED"


@pytest.mark.parametrize(
    ("is_idempotent", "category", "code"),
    [(True, "TimeoutError", "ACTION_TIMEOUT"), (False, "ActionError", "ACTION_OUTCOME_UNKNOWN")],
)
def test_action_that_exceeds_its_time_limit(
    driver: TenantDriver, monkeypatch: pytest.MonkeyPatch, is_idempotent: bool, category: str, code: str
) -> None:
    from workflows.actions import registry

    class Nothing(BaseModel):
        pass

    release, calls = threading.Event(), []

    def slow(value: Nothing, context: registry.ActionContext) -> Nothing:
        calls.append(context.idempotency_key)
        release.wait(30)
        return value

    slow_action = registry.Action(
        id="test.slow",
        version=1,
        label="",
        input_model=Nothing,
        output_model=Nothing,
        run=slow,
        timeout_seconds=0.3,
        is_idempotent=is_idempotent,
    )
    monkeypatch.setitem(registry._actions, ("test.slow", 1), slow_action)
    step = action_step(action="test.slow", retry={"maxAttempts": 2, "backoffMs": 1}, onUnknownOutcome="fail")
    publish(driver.tenant, step)
    failed = driver.wait_for_run("FAILED", id=driver.start().id)
    release.set()
    assert (failed.error_category, failed.error_code) == (category, code)
    assert len(calls) == (2 if is_idempotent else 1)


def test_slow_response_body_ends_at_the_time_limit_of_the_call(driver: TenantDriver) -> None:
    from tests.support.fakes import slow_api

    with slow_api() as url:
        publish(driver.tenant, action_step(inputMapping={"url": url, "timeout_seconds": 1}))
        failed = driver.wait_for_run("FAILED", id=driver.start().id)
    assert (failed.error_category, failed.error_code) == ("TransientError", "HTTP_TIMEOUT")
