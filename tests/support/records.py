"""Projection records, and a function that writes them in the way of the activity."""

from typing import Any

from workflows.models import Run
from workflows.projections.batches import record_batch

WAIT_ID = "0192f0c4-0000-7000-8000-0000000000aa"


def run_record(seq: int, status: str, **more: Any) -> dict[str, Any]:
    base = {
        "kind": "run",
        "seq": seq,
        "at": 1_700_000_000_000 + seq,
        "status": status,
        "state": f"S{seq}",
        "stepPath": f"root.steps[{seq}]",
    }
    return {**base, "stepCount": seq, "failedStepCount": 0, "eventCount": 0, **more}


def step_record(seq: int, status: str, attempt: int = 1) -> dict[str, Any]:
    return {
        "kind": "step", "seq": seq, "at": 1_700_000_000_000 + seq, "path": "root.steps[0]", "iteration": "",
        "attempt": attempt, "id": "s", "type": "event.wait", "status": status, "startedAt": 1_700_000_000_000,
    }  # fmt: skip


def wait_record(seq: int, status: str, wait_id: str = WAIT_ID) -> dict[str, Any]:
    return {
        "kind": "wait", "seq": seq, "at": 1_700_000_000_000 + seq, "id": wait_id, "path": "root.steps[0]",
        "stepId": "s", "iteration": "", "waitKind": "event", "status": status, "openedAt": 1_700_000_000_000,
        "eventName": "E", "key": "k", "filters": [],
    }  # fmt: skip


def task_record(seq: int, status: str, wait_id: str) -> dict[str, Any]:
    return {
        "kind": "task", "seq": seq, "at": 1_700_000_000_000 + seq, "id": wait_id, "status": status,
        "path": "root.steps[0]", "stepId": "s", "iteration": "", "taskType": "t", "title": "T", "description": "",
        "contextData": {}, "users": [], "roles": [],
    }  # fmt: skip


def write(run: Run, *records: dict[str, Any], epoch: str = "epoch-1", current: str = "epoch-1") -> bool:
    """Write records of `epoch`. `current` is the epoch that Temporal reports. Return True if they were written."""
    return record_batch(
        list(records),
        tenant_id=str(run.tenant_id),
        run_id=str(run.id),
        epoch=epoch,
        first_run_id="first",
        current_epoch=lambda: current,
    )
