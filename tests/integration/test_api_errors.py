"""Errors of the API for invalid input and for callers without permission (docs/reference/api.md#errors).

An invalid request never stores a part of its content.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import make_run, make_tenant, make_token, publish
from workflows.api.errors import exception_response
from workflows.models import ApiToken, Command, Event, Run
from workflows.models.statements import statement_limit
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")

EVENT = {"event_type": "E", "payload": {"a": 1}}


@pytest.fixture
def api(tenant: Any) -> Api:
    return Api(make_token(tenant))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{not json", 400, "BODY_INVALID"), (b"\xff\xfe", 400, "BODY_INVALID"),
        ('{"event_type": "E", "payload": {"x": NaN}}', 400, "BODY_INVALID"),
        ('{"event_type": "E", "payload": {"x": 1e999}}', 400, "BODY_INVALID"), ("[" * 100_000, 400, "BODY_INVALID"),
        ('{"payload": {}}', 400, "EVENT_INVALID"), ("[]", 400, "EVENT_INVALID"), ('"text"', 400, "EVENT_INVALID"),
        ("null", 400, "EVENT_INVALID"),
        ('{"event_type": "E", "payload": {"x": "\\u0000"}}', 400, "EVENT_INVALID"),
        ('{"event_type": "E", "payload": {}, "tenant": "t"}', 400, "EVENT_INVALID"),
        ('{"events": []}', 400, "EVENT_INVALID"), ('{"events": {}, "x": 1}', 400, "EVENT_INVALID"),
        ('{"event_type": "E", "payload": {"x": "' + "x" * 5_000_000 + '"}}', 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_bad_events_are_refused_and_nothing_is_stored(
    api: Api, tenant: Any, body: str | bytes, status: int, code: str
) -> None:
    assert error_of(api.post("/events", body), status)["code"] == code
    assert not Event.objects.filter(tenant=tenant).exists()


def test_missing_field_is_named(api: Api) -> None:
    error = error_of(api.post("/events", {"payload": {}}), 400)
    assert error["details"]["problems"] == [{"path": "event_type", "message": "is missing"}]


def test_another_media_type_is_refused(api: Api) -> None:
    response = api.client.post("/api/v1/events", "a=1", content_type="application/x-www-form-urlencoded")
    assert error_of(response, 415)["code"] == "MEDIA_TYPE_UNSUPPORTED"


@pytest.mark.parametrize("path", ["/runs", "/events", "/commands", "/definitions"])
def test_request_without_a_token_is_refused(database: None, path: str) -> None:
    response = Client().get(f"/api/v1{path}")
    assert error_of(response, 401)["code"] == "NOT_AUTHENTICATED"
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_unknown_revoked_and_expired_tokens_are_refused(tenant: Any) -> None:
    assert error_of(Api("pm_wrong").get("/runs"), 401)["code"] == "TOKEN_INVALID"
    token = make_token(tenant)
    row = ApiToken.objects.get(tenant=tenant)
    row.expires_at = timezone.now() - timedelta(seconds=1)
    row.save()
    assert error_of(Api(token).get("/runs"), 401)["code"] == "TOKEN_EXPIRED"
    row.revoked_at = timezone.now()
    row.save()
    assert error_of(Api(token).get("/runs"), 401)["code"] == "TOKEN_INVALID"


def test_rows_of_another_tenant_are_not_found(api: Api, tenant: Any) -> None:
    other = make_run(make_tenant())
    for path in ("", "/steps", "/waits", "/invocations", "/logs"):
        assert error_of(api.get(f"/runs/{other.id}{path}"), 404)["code"] in ("NOT_FOUND", "RUN_NOT_FOUND")
    for path in ("cancel", "resume", "retry", "requeue-event-wait"):
        assert error_of(api.post(f"/runs/{other.id}/{path}"), 404)["code"] == "RUN_NOT_FOUND"
    assert api.get(f"/runs?definition={other.definition_key}").json()["results"] == []
    assert not Command.objects.filter(target_id=str(other.id)).exists()


def test_viewer_sees_no_payloads_and_refused_requests_are_recorded(tenant: Any) -> None:
    run = make_run(tenant, input={"secret": 1})
    viewer = Api(make_token(tenant, Role.VIEWER))
    shown = viewer.get(f"/runs/{run.id}").json()
    assert "input" not in shown
    assert error_of(viewer.post(f"/runs/{run.id}/cancel"), 403)["code"] == "PERMISSION_DENIED"
    assert error_of(viewer.post(f"/runs/{run.id}/retry"), 403)["code"] == "PERMISSION_DENIED"
    assert error_of(viewer.post("/events", EVENT), 403)["code"] == "PERMISSION_DENIED"
    assert error_of(viewer.post("/runs", {"definition": run.definition_key}), 403)["code"] == "PERMISSION_DENIED"
    refused = Command.objects.filter(tenant=tenant, state="refused").order_by("requested_at")
    assert list(refused.values_list("action", "code")) == [
        ("cancel", "PERMISSION_DENIED"), ("retry", "PERMISSION_DENIED"), ("start_run", "PERMISSION_DENIED"),
    ]  # fmt: skip
    assert not Event.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize(
    ("path", "action"), [("resume", "resume"), ("retry", "retry"), ("requeue-event-wait", "requeue_event_wait")]
)
def test_unsupported_action_is_refused_with_a_hint(api: Api, tenant: Any, path: str, action: str) -> None:
    run = make_run(tenant)
    before = row_of(run)
    error = error_of(api.post(f"/runs/{run.id}/{path}", {"reason": "please"}), 409)
    assert error["code"] == "WORKFLOW_TEMPORAL_ACTION_UNSUPPORTED"
    assert (error["details"]["action"], error["details"]["engine"], error["details"]["runId"]) == (
        action,
        "temporal",
        str(run.id),
    )
    assert error["details"]["hint"]
    assert error["details"]["reason"]
    command = Command.objects.get(tenant=tenant, run=run)
    assert (command.action, command.state, command.code, command.reason) == (action, "refused", error["code"], "please")
    assert row_of(run) == before


def row_of(run: Run) -> dict[str, Any]:
    return Run.objects.filter(id=run.id).values().get()


@pytest.mark.parametrize("path", ["cancel", "resume", "retry", "requeue-event-wait"])
def test_legacy_runs_are_read_only(api: Api, tenant: Any, path: str) -> None:
    run = make_run(tenant, engine="db")
    assert error_of(api.post(f"/runs/{run.id}/{path}"), 409)["code"] == "WORKFLOW_LEGACY_RUN_READ_ONLY"
    assert Command.objects.get(run=run).code == "WORKFLOW_LEGACY_RUN_READ_ONLY"


def test_closed_run_cannot_be_canceled(api: Api, tenant: Any) -> None:
    run = make_run(tenant, status="SUCCEEDED", ended_at=timezone.now())
    error = error_of(api.post(f"/runs/{run.id}/cancel"), 409)
    assert (error["code"], error["details"]["action"]) == ("WORKFLOW_RUN_CLOSED", "cancel")


def test_invalid_start_is_refused_and_starts_no_run(api: Api, tenant: Any) -> None:
    assert error_of(api.post("/runs", {"definition": "nothing"}), 404)["code"] == "DEFINITION_NOT_FOUND"
    assert error_of(api.post("/runs", {}), 400)["details"]["fields"]["definition"]
    version = publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}}, key="flow")
    assert (
        error_of(api.post("/runs", {"definition": "flow", "version": 9}), 404)["code"] == "DEFINITION_VERSION_NOT_FOUND"
    )
    assert error_of(api.post("/runs", {"definition": "flow", "payload": [1]}), 400)["code"] == "PAYLOAD_INVALID"
    version.definition.is_paused = True
    version.definition.save()
    assert error_of(api.post("/runs", {"definition": "flow"}), 409)["code"] == "DEFINITION_PAUSED"
    assert not Run.objects.filter(tenant=tenant).exists()
    starts = Command.objects.filter(tenant=tenant, action="start_run")
    assert set(starts.values_list("state", flat=True)) == {"refused"}


@pytest.mark.parametrize("payload", [{"a": "\x00"}, {"a": ["\ud800"]}])
def test_payload_that_cannot_be_stored_starts_no_run(api: Api, tenant: Any, payload: dict[str, Any]) -> None:
    publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    error = error_of(api.post("/runs", {"definition": "flow", "payload": payload}), 400)
    assert (error["code"], error["details"]["path"].startswith("/payload/a")) == ("PAYLOAD_INVALID", True)
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    assert error_of(api.post("/runs", {"definition": "flow", "payload": {"a": deep}}), 400)["code"] == "PAYLOAD_INVALID"
    assert not Run.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("body", [{"definition": "nothing"}, {"definition": "flow", "payload": [1]}])
def test_repeated_request_gets_the_same_refusal(api: Api, tenant: Any, body: dict[str, Any]) -> None:
    publish(tenant, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    first, again = (api.post("/runs", body, **{"Idempotency-Key": "k"}) for _ in range(2))
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert first.status_code in (400, 404)


@pytest.mark.parametrize("path", ["/events/%00", "/definitions/%00", "/definitions/%00/versions"])
def test_nul_character_in_a_url_is_not_found(api: Api, path: str) -> None:
    assert error_of(api.get(path), 404)["code"] == "NOT_FOUND"


def test_cancel_of_a_run_that_ends_meanwhile_fails(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.factories import make_actor
    from tests.support.records import run_record, write
    from workflows.services.runs.control import run_cancel
    from workflows.temporal import gateway

    run = make_run(tenant)
    monkeypatch.setattr(gateway, "cancel_run", lambda **_: write(run, run_record(3, "SUCCEEDED")))
    command = run_cancel(actor=make_actor(tenant), run_id=run.id)
    assert (command.state, command.code) == ("failed", "WORKFLOW_RUN_CLOSED")


def test_viewer_sees_no_error_details_and_no_filters(tenant: Any) -> None:
    from tests.support.events import open_wait

    error = {"category": "ActionError", "message": "no", "nodePath": "x", "at": "y", "details": {"body": "hidden"}}
    run = make_run(tenant, error=error)
    open_wait(tenant, run=run, filters=[{"path": "a", "op": "=", "value": "hidden"}])
    viewer, operator = Api(make_token(tenant, Role.VIEWER)), Api(make_token(tenant))
    for path in (f"/runs/{run.id}", f"/runs/{run.id}/waits", "/runs"):
        assert b"hidden" not in viewer.get(path).content
        assert b"hidden" in operator.get(path).content


def test_idempotency_key_repeats_the_response_and_refuses_another_request(api: Api, tenant: Any) -> None:
    run, other = make_run(tenant), make_run(tenant)
    first = api.post(f"/runs/{run.id}/resume", **{"Idempotency-Key": "k1"})
    again = api.post(f"/runs/{run.id}/resume", **{"Idempotency-Key": "k1"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, first.json()["error"]["code"])
    assert (
        error_of(api.post(f"/runs/{other.id}/resume", **{"Idempotency-Key": "k1"}), 409)["code"]
        == "IDEMPOTENCY_KEY_REUSED"
    )
    assert again.json() == first.json()
    assert Command.objects.filter(tenant=tenant, action="resume").count() == 1


def test_unknown_urls_and_methods_use_the_error_format(api: Api, tenant: Any) -> None:
    assert error_of(api.get("/nothing"), 404)["code"] == "NOT_FOUND"
    assert error_of(api.client.delete("/api/v1/runs"), 405)["code"] == "METHOD_NOT_ALLOWED"
    assert error_of(api.get("/runs?status=NONSENSE"), 400)["code"] == "VALIDATION_ERROR"


def test_lists_have_pages_and_filters(api: Api, tenant: Any) -> None:
    made = [make_run(tenant, correlation_key=f"K{n % 2}", status="FAILED" if n < 2 else "WAITING") for n in range(5)]
    first = api.get("/runs?page_size=2").json()
    second = api.client.get(first["next"]).json()
    assert [row["id"] for row in first["results"] + second["results"]] == [str(run.id) for run in reversed(made)][:4]
    assert len(api.get("/runs?status=FAILED").json()["results"]) == 2
    assert len(api.get("/runs?status=FAILED&status=WAITING").json()["results"]) == 5
    assert len(api.get("/runs?correlation_key=K1").json()["results"]) == 2


def test_statement_over_its_time_limit_is_not_called_an_outage(database: None) -> None:
    with pytest.raises(OperationalError) as slow, statement_limit(0.05), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(9)")
    response = exception_response(slow.value, {})
    assert response is not None
    assert (response.status_code, response.data["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")
    assert "needed too long" in response.data["error"]["message"]


def test_openapi_schema_lists_the_urls(database: None) -> None:
    response = Client().get("/api/v1/schema", headers={"Accept": "application/json"})
    assert response.status_code == 200
    paths = set(response.json()["paths"])
    assert {"/api/v1/events", "/api/v1/runs", "/api/v1/runs/{id}/cancel", "/api/v1/commands"} <= paths
