"""Human tasks, written when the workflow opens and closes them (docs/reference/engine.md#human-tasks).

Between these two times, people claim and release a task. These changes are not written by this module. A task has the
id of its wait. A task record is written only if the record of its wait was new.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from workflows.engine.clock import datetime_of_ms
from workflows.engine.records import TaskRecord
from workflows.ledger import commands_observe_task
from workflows.models import HumanTask, Run, RunWait
from workflows.statuses import TaskStatus, WaitStatus

# Status of a task without a response, by the status of its closed wait.
STATUS_OF_WAIT: dict[str, TaskStatus] = {
    WaitStatus.TIMED_OUT: TaskStatus.EXPIRED,
    WaitStatus.CANCELED: TaskStatus.CANCELED,
}


def record_tasks(
    records: list[TaskRecord], *, run: Run, changed_waits: set[str], late_waits: Mapping[str, RunWait] | None = None
) -> None:
    """Write the tasks whose waits the same batch has changed. `changed_waits` has the ids of these waits.

    `late_waits`: waits that were closed before the record that opens them came. Their tasks get the status of the wait.
    """
    for record in records:
        late = (late_waits or {}).get(record["id"])
        if late is not None and record["status"] == TaskStatus.PENDING and late.status in STATUS_OF_WAIT:
            _open(record, run, STATUS_OF_WAIT[late.status])
            continue
        if record["id"] not in changed_waits:
            continue
        if record["status"] == TaskStatus.PENDING:
            _open(record, run)
        else:
            _close(record, run)


def _open(record: TaskRecord, run: Run, status: TaskStatus = TaskStatus.PENDING) -> None:
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
        "allow_system_completion": record.get("allowSystem", True),
        "complete_on_event": record.get("completeOn", ""),
        "correlation_key": record.get("key", ""),
        "due_at": datetime_of_ms(record["dueAt"]) if "dueAt" in record else None,
        "status": status,
        "claimed_by": None,
        "claimed_at": None,
        "completed_by_name": "",
        "completed_at": None,
        "response": None,
        "created_at": datetime_of_ms(record["at"]),
    }
    HumanTask.objects.update_or_create(tenant_id=run.tenant_id, id=uuid.UUID(record["id"]), defaults=fields)


def _close(record: TaskRecord, run: Run) -> None:
    changes: dict[str, Any] = {"status": record["status"], "completing_at": None}
    if record["status"] == TaskStatus.COMPLETED:
        changes |= {
            "response": record["response"],
            "completed_by_name": record["completedBy"][:200],
            "completed_at": datetime_of_ms(record["at"]),
        }
    HumanTask.objects.filter(tenant_id=run.tenant_id, id=uuid.UUID(record["id"])).update(**changes)
    if record["status"] == TaskStatus.COMPLETED and "commandId" in record:
        commands_observe_task(tenant_id=run.tenant_id, command_id=record["commandId"])
