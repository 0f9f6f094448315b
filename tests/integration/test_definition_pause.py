"""Pause and resume of definitions: held starts are visible, and are started or skipped on resume.

Source: docs/reference/administration.md#definition-life-cycle, docs/reference/events.md#routing
"""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from ingress.dispatch import delivery
from ingress.dispatch.work import events_work
from tests.support.api import Api, error_of
from tests.support.deliveries import attempt_delivery
from tests.support.events import receive
from tests.support.factories import make_actor, make_token, publish
from tests.support.triggers import STATE, TRIGGER
from workflows.models import Command, Definition, EventDelivery, Run
from workflows.services.definitions.changes import definition_find
from workflows.services.definitions.pause import definition_pause, definition_resume, starts_waiting
from workflows.statuses import HeldChoice, Role
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("no_dispatcher")  # the test itself does the work of its tenant


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the definition versions of the runs that were started. Temporal is not called."""
    versions: list[str] = []

    def start(run: Any, **_: Any) -> str:
        versions.append(f"{run.definition_key}@{run.version}")
        return f"first-{uuid.uuid4()}"

    monkeypatch.setattr(gateway, "start_run", start)
    return versions


def api_of(tenant: Any, role: Role = Role.AUTHOR) -> Api:
    return Api(make_token(tenant, role))


def work(tenant: Any) -> None:
    events_work(tenant_id=tenant.id, seconds=20)


def statuses(tenant: Any) -> list[str]:
    return sorted(EventDelivery.objects.filter(tenant=tenant).values_list("status", flat=True))


def hold(tenant: Any, events: int) -> None:
    """Publish and pause `flow`, and send events that would start it."""
    publish(tenant, STATE, trigger=TRIGGER)
    definition_pause(actor=make_actor(tenant, Role.AUTHOR), key="flow", reason="a holiday")
    for _ in range(events):
        receive(tenant, workflow_correlation_key=None)
    work(tenant)


def test_pause_holds_starts_and_resume_starts_them_with_the_published_version(tenant: Any, started: list[str]) -> None:
    api = api_of(tenant)
    hold(tenant, events=2)
    assert (started, statuses(tenant)) == ([], ["pending", "pending"])
    shown = api.get("/definitions/flow").json()
    assert (shown["is_paused"], shown["paused_reason"], shown["paused_by"]) == (True, "a holiday", "tester")
    assert shown["held_starts"] == 2
    rows = api.get("/definitions/flow/held-starts").json()["results"]
    assert [(row["event_type"], row["reason"], row["version"]) for row in rows] == [
        ("REPLIED", "the definition flow is paused: a holiday", 1)
    ] * 2
    assert error_of(api.post("/runs", {"definition": "flow", "payload": {}}), 409)["code"] == "DEFINITION_PAUSED"
    publish(tenant, {**STATE, "config": {"state": "FIXED"}}, trigger=TRIGGER)
    resumed = api.post("/definitions/flow/resume", {"reason": "fixed", "held_starts": "start"})
    assert (resumed.status_code, resumed.json()["is_paused"]) == (200, False)
    work(tenant)
    assert (started, statuses(tenant)) == (["flow@2", "flow@2"], ["started", "started"])
    assert Run.objects.filter(tenant=tenant, version=2).count() == 2


def test_held_starts_keep_their_version_if_the_new_one_has_another_trigger(tenant: Any, started: list[str]) -> None:
    hold(tenant, events=1)
    publish(tenant, STATE, trigger={**TRIGGER, "eventName": "OTHER"})
    definition_resume(actor=make_actor(tenant), key="flow", reason="go", held=HeldChoice.START)
    work(tenant)
    assert started == ["flow@1"]


def test_resume_skips_held_starts_with_the_reason(
    tenant: Any, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.services.definitions.pause.BATCH", 2)
    api = api_of(tenant)
    hold(tenant, events=3)
    refusal = error_of(api.post("/definitions/flow/resume", {"reason": "over"}), 400)
    assert (refusal["code"], refusal["details"]["heldStarts"]) == ("HELD_STARTS_CHOICE_REQUIRED", 3)
    assert Definition.objects.get(tenant=tenant).is_paused
    assert api.post("/definitions/flow/resume", {"reason": "over", "held_starts": "skip"}).json()["held_starts"] == 0
    work(tenant)
    assert (started, statuses(tenant)) == ([], ["skipped"] * 3)
    row = EventDelivery.objects.filter(tenant=tenant).select_related("event")[0]
    assert row.reason == "skipped when author token resumed flow: over"
    assert row.decided_at is not None
    assert row.event.outcome == "unmatched"
    receive(tenant, workflow_correlation_key=None)
    work(tenant)
    assert started == ["flow@1"]


@pytest.mark.parametrize("held", HeldChoice)
def test_start_that_is_tried_during_the_resume_follows_the_choice(
    tenant: Any, started: list[str], monkeypatch: pytest.MonkeyPatch, held: HeldChoice
) -> None:
    """The dispatcher reads that the definition is paused, and writes its result after the resume."""
    hold(tenant, events=0)
    receive(tenant, workflow_correlation_key=None)
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_claim_for_tenant", lambda tenant_id: [])
        events_work(tenant_id=tenant.id, seconds=1)  # routes the event, and cannot deliver it
    row = EventDelivery.objects.get(tenant=tenant)
    attempt = delivery._attempt

    def attempt_and_resume(claimed: EventDelivery) -> delivery.Attempt:
        result = attempt(claimed)
        definition_resume(actor=make_actor(tenant), key="flow", reason="go", held=held)
        return result

    with monkeypatch.context() as patched:
        patched.setattr(delivery, "_attempt", attempt_and_resume)
        attempt_delivery(row.id)
    row.refresh_from_db()
    assert row.status == "skipped" or row.next_attempt_at <= timezone.now()
    work(tenant)
    row.refresh_from_db()
    assert row.status == ("skipped" if held == HeldChoice.SKIP else "started")


def test_pause_after_the_claim_holds_the_start(
    tenant: Any, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    receive(tenant, workflow_correlation_key=None)
    start = delivery.event_start_run

    def pause_and_start(row: EventDelivery) -> tuple[str, str]:
        definition_pause(actor=make_actor(tenant), key="flow", reason="stop")
        return start(row)

    monkeypatch.setattr(delivery, "event_start_run", pause_and_start)
    work(tenant)
    assert (started, starts_waiting(definition_find(tenant_id=tenant.id, key="flow")).count()) == ([], 1)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/definitions/flow/pause", {}, 400, "REASON_REQUIRED"),
        ("/definitions/flow/pause", {"reason": "  "}, 400, "REASON_REQUIRED"),
        ("/definitions/flow/resume", {"reason": "go"}, 409, "DEFINITION_NOT_PAUSED"),
        ("/definitions/flow/resume", {"reason": "go", "held_starts": "maybe"}, 400, "VALIDATION_ERROR"),
        ("/definitions/none/pause", {"reason": "x"}, 404, "DEFINITION_NOT_FOUND"),
        ("/definitions/none/held-starts", None, 404, "DEFINITION_NOT_FOUND"),
    ],
)
def test_refused_requests(tenant: Any, path: str, body: Any, status: int, code: str) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    api = api_of(tenant)
    assert error_of(api.get(path) if body is None else api.post(path, body), status)["code"] == code
    assert not Definition.objects.get(tenant=tenant).is_paused


def test_repeated_request_changes_nothing_and_the_ledger_has_reason_before_and_after(tenant: Any) -> None:
    publish(tenant, STATE, trigger=TRIGGER)
    api = api_of(tenant)
    for _ in range(2):
        response = api.post("/definitions/flow/pause", {"reason": "a holiday"}, **{"Idempotency-Key": "k"})
        assert response.status_code == 200
    again = error_of(api.post("/definitions/flow/pause", {"reason": "another"}), 409)
    assert (again["code"], "a holiday" in again["message"]) == ("DEFINITION_PAUSED", True)
    assert error_of(api_of(tenant, Role.OPERATOR).post("/definitions/flow/pause", {"reason": "x"}), 403)
    rows = Command.objects.filter(tenant=tenant, action="pause").order_by("requested_at")
    assert [(row.state, row.code, row.reason) for row in rows] == [
        ("observed", "", "a holiday"),
        ("refused", "DEFINITION_PAUSED", "another"),
        ("refused", "PERMISSION_DENIED", "x"),
    ]
    assert rows[0].details == {
        "before": {"isPaused": False, "pausedReason": ""}, "after": {"isPaused": True, "pausedReason": "a holiday"},
    }  # fmt: skip
