"""Reads about bulk jobs: how many items are in which state, and what a preview shows."""

import uuid
from typing import Any

from django.db.models import Count

from workflows.models import BulkItem, BulkJob, Command
from workflows.statuses import BulkItemState, BulkState, CommandAction

TARGET = "bulk job"


def bulk_counts(job: BulkJob) -> dict[str, int]:
    """Items by state; together they are `job.total`. Cost: one statement, from the index alone where it is vacuumed."""
    rows = _items(job).order_by().values_list("state").annotate(Count("id"))
    return {**dict.fromkeys(BulkItemState.values, 0), **dict(rows)}


def bulk_split(job: BulkJob) -> dict[str, dict[str, int]]:
    """`by_status`: what will be asked, by the run's status; `ineligible`: what will not, by the code that says why."""
    rows = _items(job).order_by().values_list("state", "status_then", "code").annotate(Count("id"))
    split: dict[str, dict[str, int]] = {"by_status": {}, "ineligible": {}}
    for state, status, code, number in rows:
        kind, name = ("ineligible", code) if state == BulkItemState.INELIGIBLE else ("by_status", status)
        split[kind][name] = split[kind].get(name, 0) + number
    return split


def bulk_commands(job: BulkJob) -> list[Command]:
    """What was asked of the job itself, newest first."""
    asked = Command.objects.filter(tenant_id=job.tenant_id, target_id=str(job.id), action=CommandAction.BULK)
    return list(asked.order_by("-requested_at")[:100])


def bulk_pause_reason(job: BulkJob) -> str:
    """Why the job is paused, as the ledger has it; empty when it is not."""
    if job.state != BulkState.PAUSED:
        return ""
    pauses = (command for command in bulk_commands(job) if (command.payload or {}).get("operation") == "pause")
    last = next(pauses, None)
    if last is None:
        return ""
    return last.reason or f"paused by {last.actor_name}"


def bulk_items(*, tenant_id: uuid.UUID, job_id: uuid.UUID, **of: Any) -> Any:
    return BulkItem.objects.filter(tenant_id=tenant_id, job_id=job_id, **of).order_by("position")


def _items(job: BulkJob) -> Any:
    return BulkItem.objects.filter(tenant_id=job.tenant_id, job=job)
