"""The main job on the whole stack, as the README tells it: processes are stopped, killed and started under it."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.factories import eventually
from tests.support.stack import Stack, running_stack


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


def run_of(
    api: httpx.Client, key: str, status: str, *, definition: str = "ticket-escalation", seconds: float = 60
) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = api.get("/runs", params={"correlation_key": key, "status": status, "definition": definition}).json()[
            "results"
        ]
        return found[0] if found else None

    return eventually(look, seconds=seconds, what=f"a run of {key} that is {status}")


def waiting_ticket(api: httpx.Client, ticket: str) -> dict[str, Any]:
    post_event(api, "TICKET_CREATED", ticketId=ticket, subject="Printer", priority=3)
    return run_of(api, ticket, "WAITING")


def rows_of(api: httpx.Client, run_id: str) -> str:
    """Run, steps and waits as the API shows them, byte for byte; but for the run's age, which grows."""
    parts = [api.get(f"/runs/{run_id}{part}").json() for part in ("", "/steps", "/waits")]
    assert parts[0].pop("projection_age_seconds") is not None
    return json.dumps(parts)


def test_started_by_one_event_and_resumed_by_another(api: httpx.Client, ticket: str) -> None:
    waiting = waiting_ticket(api, ticket)
    assert (waiting["state"], waiting["trigger_type"]) == ("WAITING_FOR_CUSTOMER", "event")
    reply = post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket, text="thanks")
    ended = run_of(api, ticket, "SUCCEEDED")
    assert (ended["id"], ended["state"]) == (waiting["id"], "ANSWERED")
    event = api.get(f"/events/{reply['event_id']}").json()
    assert (event["outcome"], [d["status"] for d in event["deliveries"]]) == ("delivered", ["matched"])


def test_without_a_key_the_event_says_why_and_signals_nothing(api: httpx.Client) -> None:
    stray = post_event(api, "TICKET_CUSTOMER_REPLIED", text="who am I?")
    event = eventually(lambda: _routed(api, stray["event_id"]))
    assert (event["outcome"], event["correlation_status"], event["deliveries"]) == ("uncorrelated", "missing", [])
    assert "payload.ticketId" in event["correlation_reason"]


def _routed(api: httpx.Client, event_id: str) -> dict[str, Any] | None:
    event = api.get(f"/events/{event_id}").json()
    return event if event["routed_at"] else None


def test_cancel_while_temporal_is_stopped_and_after(stack: Stack, api: httpx.Client, ticket: str) -> None:
    run = waiting_ticket(api, ticket)
    before = rows_of(api, run["id"])
    stack.devstack("stop", "temporal")
    try:
        refused = api.post(f"/runs/{run['id']}/cancel")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "WORKFLOW_TEMPORAL_CANCEL_FAILED")
        assert rows_of(api, run["id"]) == before
    finally:
        stack.devstack("start", "temporal")
    accepted = eventually(lambda: _accepted(api, run["id"]), what="the cancel is accepted")
    ended = run_of(api, ticket, "CANCELED")
    assert ended["id"] == run["id"]
    commands = api.get("/commands", params={"target": run["id"]}).json()["results"]
    assert [command["state"] for command in commands if command["id"] == accepted["command_id"]] == ["observed"]
    assert "WORKFLOW_TEMPORAL_CANCEL_FAILED" in [command["code"] for command in commands]


def _accepted(api: httpx.Client, run_id: str) -> dict[str, Any] | None:
    response = api.post(f"/runs/{run_id}/cancel")
    return response.json() if response.status_code == 202 else None


def test_a_worker_that_is_killed_comes_back_and_the_event_still_resumes(
    stack: Stack, api: httpx.Client, ticket: str
) -> None:
    waiting_ticket(api, ticket)
    killed = stack.pid_of("worker")
    os.kill(killed, signal.SIGKILL)
    post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket)
    run_of(api, ticket, "SUCCEEDED", seconds=90)
    assert stack.pid_of("worker") != killed


def test_a_worker_that_is_stopped_leaves_the_event_for_later(stack: Stack, api: httpx.Client, ticket: str) -> None:
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
    run_of(api, ticket, "SUCCEEDED", seconds=90)


def test_events_are_taken_while_celery_is_stopped(stack: Stack, api: httpx.Client, ticket: str) -> None:
    keys = [f"{ticket}-{number}" for number in range(5)]
    for key in keys:
        waiting_ticket(api, key)
    stack.devstack("stop", "celery")
    try:
        for key in keys:
            post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=key)
    finally:
        stack.devstack("start", "celery")
    for key in keys:
        run_of(api, key, "SUCCEEDED", seconds=90)


def test_events_are_taken_while_the_broker_is_stopped(stack: Stack, api: httpx.Client, ticket: str) -> None:
    waiting_ticket(api, ticket)
    stack.devstack("stop", "redis")
    try:
        post_event(api, "TICKET_CUSTOMER_REPLIED", ticketId=ticket)
        ready = httpx.get(f"{stack.credentials()['url']}/readyz", trust_env=False, timeout=30)
        assert (ready.status_code, ready.json()["checks"]["broker"][:4]) == (503, "down")
    finally:
        stack.devstack("start", "redis")
    run_of(api, ticket, "SUCCEEDED", seconds=120)


def test_traffic_adds_up(stack: Stack) -> None:
    done = stack.manage("demo_traffic", "--count", "80", "--verify", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All results match the plan" in done.stdout


def test_the_shell_cannot_write_a_projection(stack: Stack) -> None:
    done = stack.manage("shell", "-c", "Run.objects.filter(status='WAITING').update(status='CANCELED')")
    assert done.returncode != 0
    assert "projection rows follow Temporal" in done.stderr


def test_bad_input_through_the_real_server(stack: Stack, api: httpx.Client) -> None:
    found = stack.credentials()
    url = f"{found['url']}/api/v1/events"
    headers = {"Authorization": f"Bearer {found['token']}", "Content-Type": "application/json"}
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (b"{not json", headers, 400, "BODY_INVALID"), (b'{"payload": {}}', headers, 400, "EVENT_INVALID"),
        (b'{"x": "' + b"y" * 5_000_000 + b'"}', headers, 413, "PAYLOAD_TOO_LARGE"),
        (b"{}", {**headers, "Authorization": "Bearer pm_other"}, 401, "TOKEN_INVALID"), (b"{}", {"Content-Type": "application/json"}, 401, "NOT_AUTHENTICATED"),
    ]  # fmt: skip
    for body, sent, status, code in cases:
        response = httpx.post(url, content=body, headers=sent, trust_env=False, timeout=30)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_credentials_are_those_of_each_role(stack: Stack) -> None:
    found = stack.credentials()
    assert set(found) == {"url", "token", "users"}
    assert [user["role"] for user in found["users"]] == ["viewer", "operator", "author", "admin"]
    assert all(set(user) == {"username", "password", "role"} for user in found["users"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_no_process_and_keeps_the_data(tmp_path: Path, number: signal.Signals) -> None:
    with running_stack(tmp_path / "home") as stack:
        token = stack.credentials()["token"]
        processes = stack.processes()
        assert len(processes) >= 8
        assert stack.stop(number) == 0
        assert [process for process in processes if process.is_running() and process.status() != "zombie"] == []
        if number is signal.SIGTERM:
            stack.start()
            assert stack.credentials()["token"] == token
