"""Human tasks as the workflow opens and closes them (docs/reference/engine.md#human-tasks). Between the two, people claim and release them.

A task stands under the id of its wait, and its records are written when those of the wait were new.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from workflows.ledger import commands_observe_task
from workflows.models import HumanTask, Run
from workflows.statuses import TaskStatus

Record = dict[str, Any]


def write_tasks(records: list[Record], *, run: Run, written_waits: set[str]) -> None:
    for record in records:
        if record["id"] not in written_waits:
            continue
        if record["status"] == TaskStatus.PENDING:
            _open(record, run)
        else:
            _close(record, run)


def _open(record: Record, run: Run) -> None:
    fields = {
        "run": run,
        "wait_id": uuid.UUID(record["id"]),
        "step_path": record["path"],
        "iteration": record["iteration"],
        "step_id": record["stepId"],
        "task_type": record["taskType"],
        "title": record["title"],
        "description": record["description"],
        "context_data": record["contextData"],
        "form_schema": record.get("formSchema"),
        "assigned_users": record["users"],
        "assigned_roles": record["roles"],
        "complete_on_event": record.get("completeOn", ""),
        "correlation_key": record.get("key", ""),
        "due_at": _moment(record["dueAt"]) if "dueAt" in record else None,
        "status": TaskStatus.PENDING,
        "claimed_by": None,
        "claimed_at": None,
        "completed_by_name": "",
        "completed_at": None,
        "response": None,
        "created_at": _moment(record["at"]),
    }
    HumanTask.objects.update_or_create(tenant_id=run.tenant_id, id=uuid.UUID(record["id"]), defaults=fields)


def _close(record: Record, run: Run) -> None:
    changes: dict[str, Any] = {"status": record["status"], "completing_at": None}
    if record["status"] == TaskStatus.COMPLETED:
        changes |= {
            "response": record["response"],
            "completed_by_name": record["completedBy"][:200],
            "completed_at": _moment(record["at"]),
        }
    HumanTask.objects.filter(tenant_id=run.tenant_id, id=uuid.UUID(record["id"])).update(**changes)
    if record["status"] == TaskStatus.COMPLETED and "commandId" in record:
        commands_observe_task(tenant_id=run.tenant_id, command_id=record["commandId"])


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)
