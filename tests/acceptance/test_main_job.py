"""The main job of the README on the whole stack, while processes are stopped, killed and started."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.factories import eventually
from tests.support.stack import Stack, running_stack

pytestmark = pytest.mark.timeout(600)  # the stack starts eight programs, which takes minutes on a loaded machine


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("acceptance") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[httpx.Client]:
    with stack.client() as client:
        yield client


@pytest.fixture
def ticket() -> str:
    return f"T-{uuid.uuid4().hex[:8]}"


def post_event(api: httpx.Client, event_type: str, **payload: Any) -> dict[str, Any]:
    response = api.post("/events", json={"event_type": event_type, "payload": payload})
    assert response.status_code == 202, response.text
    return response.json()


def run_of(api: httpx.Client, key: str, status: str, *, definition: str = "ticket-escalation") -> dict[str, Any]:
    def find() -> dict[str, Any] | None:
        params = {"correlation_key": key, "status": status, "definition": definition}
        response = api.get("/runs", params=params)
        if response.status_code == 503:  # a server has only just started again, or the machine is loaded
            return None
        assert response.status_code == 200, response.text
        found = response.json()["results"]
        return found[0] if found else None

    return eventually(find, what=f"a run of {key} with the status {status}")


def waiting_ticket(api: httpx.Client, ticket: str) -> dict[str, Any]:
    post_event(api, "TICKET_CREATED", ticketId=ticket, subject="Printer", priority=3)
    return run_of(api, ticket, "WAITING")


def api_view_of(api: httpx.Client, run_id: str) -> str:
    """Return run, steps and waits from the API as text, without the age of the projection, which grows."""
    parts = [api.get(f"/runs/{run_id}{part}").json() for part in ("", "/steps", "/waits")]
    assert parts[0].pop("projection_age_seconds") is not None
    return json.dumps(parts)


def test_one_event_starts_a_run_and_another_resumes_it(api: httpx.Client, ticket: str) -> None:
    waiting = waiting_ticket(api, ticket)
    assert (waiting["state"], waiting["trigger_type"]) == ("WAITING_FOR_CUSTOMER", "event")
    reply = post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket, text="thanks")
    ended = run_of(api, ticket, "SUCCEEDED")
    assert (ended["id"], ended["state"]) == (waiting["id"], "ANSWERED")
    event = api.get(f"/events/{reply['event_id']}").json()
    assert (event["outcome"], [d["status"] for d in event["deliveries"]]) == ("delivered", ["matched"])


def test_event_without_key_shows_the_reason_and_signals_no_run(api: httpx.Client) -> None:
    keyless = post_event(api, "TICKET_CUSTOMER_REPLIED", text="no ticket id")
    event = eventually(lambda: _routed(api, keyless["event_id"]))
    assert (event["outcome"], event["correlation_status"], event["deliveries"]) == ("uncorrelated", "missing", [])
    assert "payload.ticketId" in event["correlation_reason"]


def _routed(api: httpx.Client, event_id: str) -> dict[str, Any] | None:
    event = api.get(f"/events/{event_id}").json()
    return event if event["routed_at"] else None


def test_cancel_is_refused_while_temporal_is_stopped_and_accepted_afterwards(
    stack: Stack, api: httpx.Client, ticket: str
) -> None:
    run = waiting_ticket(api, ticket)
    before = api_view_of(api, run["id"])
    stack.stop_program("temporal")
    try:
        refused = api.post(f"/runs/{run['id']}/cancel")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "WORKFLOW_TEMPORAL_CANCEL_FAILED")
        assert api_view_of(api, run["id"]) == before
    finally:
        stack.start_program("temporal")
    accepted = eventually(lambda: _accepted(api, run["id"]), what="the cancel is accepted")
    ended = run_of(api, ticket, "CANCELED")
    assert ended["id"] == run["id"]
    commands = api.get("/commands", params={"target": run["id"]}).json()["results"]
    assert [command["state"] for command in commands if command["id"] == accepted["command_id"]] == ["observed"]
    assert "WORKFLOW_TEMPORAL_CANCEL_FAILED" in [command["code"] for command in commands]


def _accepted(api: httpx.Client, run_id: str) -> dict[str, Any] | None:
    response = api.post(f"/runs/{run_id}/cancel")
    return response.json() if response.status_code == 202 else None


def test_killed_worker_restarts_and_the_event_resumes_the_run(stack: Stack, api: httpx.Client, ticket: str) -> None:
    waiting_ticket(api, ticket)
    killed = stack.pid_of("worker")
    os.kill(killed, signal.SIGKILL)
    post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket)
    run_of(api, ticket, "SUCCEEDED")
    assert stack.pid_of("worker") != killed


def test_event_waits_while_the_worker_is_stopped(stack: Stack, api: httpx.Client, ticket: str) -> None:
    run = waiting_ticket(api, ticket)
    stack.devstack("stop", "worker")
    try:
        reply = post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket)
        eventually(
            lambda: [d["status"] for d in api.get(f"/events/{reply['event_id']}").json()["deliveries"]] == ["sent"]
        )
        assert api.get(f"/runs/{run['id']}").json()["status"] == "WAITING"
    finally:
        stack.devstack("start", "worker")
    run_of(api, ticket, "SUCCEEDED")


def test_events_are_accepted_while_celery_is_stopped(stack: Stack, api: httpx.Client, ticket: str) -> None:
    keys = [f"{ticket}-{number}" for number in range(5)]
    for key in keys:
        waiting_ticket(api, key)
    stack.stop_program("celery")
    try:
        for key in keys:
            post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=key)
    finally:
        stack.start_program("celery")
    for key in keys:
        run_of(api, key, "SUCCEEDED")


def test_events_are_accepted_while_the_broker_is_stopped(stack: Stack, api: httpx.Client, ticket: str) -> None:
    waiting_ticket(api, ticket)
    stack.stop_program("redis")
    try:
        post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket)
        ready = httpx.get(f"{stack.credentials()['url']}/readyz", trust_env=False, timeout=30)
        assert (ready.status_code, ready.json()["checks"]["broker"][:4]) == (503, "down")
    finally:
        stack.start_program("redis")
    run_of(api, ticket, "SUCCEEDED")


def test_demo_traffic_has_the_expected_results(stack: Stack) -> None:
    done = stack.manage("demo_traffic", "--count", "80", "--verify", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All results match the plan" in done.stdout


def test_shell_cannot_write_a_projection(stack: Stack) -> None:
    done = stack.manage("shell", "-c", "Run.objects.filter(status='WAITING').update(status='CANCELED')")
    assert done.returncode != 0
    assert "projection rows follow Temporal" in done.stderr


def test_web_server_refuses_bad_input_with_codes(stack: Stack, api: httpx.Client) -> None:
    credentials = stack.credentials()
    url = f"{credentials['url']}/api/v1/events"
    headers = {"Authorization": f"Bearer {credentials['token']}", "Content-Type": "application/json"}
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (b"{not json", headers, 400, "BODY_INVALID"), (b'{"payload": {}}', headers, 400, "EVENT_INVALID"),
        (b'{"x": "' + b"y" * 5_000_000 + b'"}', headers, 413, "PAYLOAD_TOO_LARGE"),
        (b"{}", {**headers, "Authorization": "Bearer pm_other"}, 401, "TOKEN_INVALID"),
        (b"{}", {"Content-Type": "application/json"}, 401, "NOT_AUTHENTICATED"),
    ]  # fmt: skip
    for body, sent, status, code in cases:
        response = httpx.post(url, content=body, headers=sent, trust_env=False, timeout=30)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_credentials_contain_a_user_for_each_role(stack: Stack) -> None:
    found = stack.credentials()
    assert set(found) == {"url", "token", "users"}
    assert [user["role"] for user in found["users"]] == ["viewer", "operator", "author", "admin"]
    assert all(set(user) == {"username", "password", "role"} for user in found["users"])


def test_stop_leaves_no_process_and_keeps_the_data(stack: Stack) -> None:
    """Stop the stack with both signals, with a start between them. This test is the last one that uses the stack."""
    token = stack.credentials()["token"]
    for number in (signal.SIGTERM, signal.SIGINT):
        processes = stack.processes()
        assert len(processes) >= 8
        assert stack.stop(number) == 0
        assert [process for process in processes if process.is_running() and process.status() != "zombie"] == []
        if number is signal.SIGTERM:
            stack.start()
            assert token in stack.log.read_text()  # the same as at the first start
