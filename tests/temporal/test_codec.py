"""Raw history of a run with encrypted payloads; keys that are added, rotated or missing."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal.devstack.servers import Servers
from tests.support.base64_forms import encoded_forms
from tests.support.factories import eventually, expr, publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver
from tests.support.workers import running_temporal_worker
from workflows.models import Run
from workflows.temporal import connection
from workflows.temporal.activities import records
from workflows.temporal.converter import build_converter

CANARY = "kanarienvogel"
OLD, NEW = {"2025": secrets.token_bytes(32)}, {"2026": secrets.token_bytes(32)}
UseKeys = Callable[[dict[str, bytes]], None]
CALL = {
    "id": "call",
    "type": "action.call",
    # The port is not a number, so the error message quotes it.
    "config": {
        "actionId": "http.request",
        "version": 1,
        "inputMapping": {"url": expr("'http://127.0.0.1:' & payload.ticketId & '/'")},
    },
}


@pytest.fixture
def own_desk(tenant: Any, servers: Servers, celery_worker: None, settings: Any) -> TenantDriver:
    """Return a tenant with its own task queue. Only workers of the test poll it."""
    settings.TEMPORAL_TASK_QUEUE = f"own-{tenant.slug}"
    return TenantDriver(tenant, servers)


@pytest.fixture
def use_keys() -> Iterator[UseKeys]:
    """Give keys to clients and workers that connect from now on, as a restart with other settings would."""
    original = connection.DATA_CONVERTER

    def use(keys: dict[str, bytes]) -> None:
        connection.DATA_CONVERTER, connection._connection._client = build_converter(keys), None

    yield use
    connection.DATA_CONVERTER, connection._connection._client = original, None


def canaries(history: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the places that show the canary: the type of the history event, and the field of its attributes."""
    found = set()
    for event in history:
        attributes = next((value for key, value in event.items() if key.endswith("EventAttributes")), {})
        for field, value in {**event, **attributes}.items():
            text = json.dumps(value)
            if not field.endswith("EventAttributes") and any(spelling in text for spelling in encoded_forms(CANARY)):
                found.add((event["eventType"].removeprefix("EVENT_TYPE_"), field))
    return found


def encodings(value: Any) -> set[str]:
    """Return the encodings of all payloads, at any depth."""
    if isinstance(value, list):
        return set().union(*map(encodings, value))
    if not isinstance(value, dict):
        return set()
    own = value.get("metadata", {}).get("encoding")
    return encodings(list(value.values())) | ({base64.b64decode(own).decode()} if own else set())


def failed_run(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run with the canary in payload, definition, summary, event, action and errors."""
    write, failures = records.write_records, [CANARY]

    def fail_the_first_write(*args: Any, **fields: Any) -> bool:
        if failures:
            raise RuntimeError(failures.pop())
        return write(*args, **fields)

    monkeypatch.setattr(records, "write_records", fail_the_first_write)
    publish(driver.tenant, wait_for_reply(timeoutMs=600_000), CALL, name=CANARY)
    with running_temporal_worker():
        run = driver.start({"ticketId": CANARY})
        driver.wait_for_run("WAITING", id=run.id)
        driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": CANARY})
        failed = driver.wait_for_run("FAILED", id=run.id)
        # A worker that stops before the end of the workflow would leave an open task.
        driver.history_types_until(run, "WORKFLOW_EXECUTION_FAILED")
        return failed


def test_without_keys_every_place_shows_the_canary(
    own_desk: TenantDriver, use_keys: UseKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prove that the search of the next test can find the canary."""
    use_keys({})
    run = failed_run(own_desk, monkeypatch)
    assert CANARY in run.error["message"]
    history = own_desk.history(run)
    assert canaries(history) == {
        ("WORKFLOW_EXECUTION_STARTED", "input"),
        ("ACTIVITY_TASK_SCHEDULED", "input"),
        ("ACTIVITY_TASK_SCHEDULED", "userMetadata"),
        ("ACTIVITY_TASK_STARTED", "lastFailure"),
        ("WORKFLOW_EXECUTION_SIGNALED", "input"),
        ("ACTIVITY_TASK_COMPLETED", "result"),
        ("WORKFLOW_EXECUTION_FAILED", "failure"),
    }
    assert encodings(history) == {"json/plain", "binary/null"}


def test_with_keys_no_place_of_the_raw_history_shows_the_canary(
    own_desk: TenantDriver, use_keys: UseKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_keys(NEW)
    run = failed_run(own_desk, monkeypatch)
    assert (CANARY in run.error["message"], run.error_code) == (True, "HTTP_URL_INVALID")
    history = own_desk.history(run)
    assert canaries(history) == set()
    assert not any(spelling in json.dumps(history) for spelling in encoded_forms(CANARY))
    assert encodings(history) == {"binary/encrypted"}
    assert history[-1]["workflowExecutionFailedEventAttributes"]["failure"]["message"] == "Encoded failure"


@pytest.mark.parametrize("shift", range(4))
def test_search_finds_the_canary_at_every_base64_alignment(shift: int) -> None:
    for after in range(4):
        text = base64.b64encode(b"\xff" * shift + CANARY.encode() + b"\xff" * after).decode()
        assert any(spelling in text for spelling in encoded_forms(CANARY)), (shift, after)


@pytest.mark.parametrize("old_keys", [{}, OLD])
def test_run_continues_after_a_change_of_keys(
    own_desk: TenantDriver, use_keys: UseKeys, old_keys: dict[str, bytes]
) -> None:
    publish(own_desk.tenant, wait_for_reply(), {"id": "s", "type": "state.set", "config": {"state": "AFTER"}})
    use_keys(old_keys)
    with running_temporal_worker():
        run = own_desk.start({"ticketId": "T-1"})
        own_desk.wait_for_run("WAITING", id=run.id)
        own_desk.history_types_until(run, "WORKFLOW_TASK_COMPLETED")
    use_keys({**NEW, **old_keys})
    with running_temporal_worker():
        own_desk.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
        assert own_desk.wait_for_run("SUCCEEDED", id=run.id).state == "AFTER"


@pytest.mark.parametrize("old_keys", [{}, OLD])
def test_event_encrypted_under_a_missing_key_waits_for_the_key(
    own_desk: TenantDriver, use_keys: UseKeys, old_keys: dict[str, bytes]
) -> None:
    """The SDK drops a signal that its payload converter cannot read, so the codec must fail the task earlier."""
    publish(own_desk.tenant, wait_for_reply(), {"id": "s", "type": "state.set", "config": {"state": "AFTER"}})
    use_keys(old_keys)
    with running_temporal_worker():
        run = own_desk.start({"ticketId": "T-1"})
        own_desk.wait_for_run("WAITING", id=run.id)
        use_keys(NEW)
        own_desk.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1"})
        eventually(lambda: "WORKFLOW_TASK_FAILED" in own_desk.history_types(run), what="a failed workflow task")
    assert Run.objects.get(id=run.id).status == "WAITING"
    use_keys({**NEW, **old_keys})
    with running_temporal_worker():
        assert own_desk.wait_for_run("SUCCEEDED", id=run.id).state == "AFTER"
