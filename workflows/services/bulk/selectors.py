"""Queries about bulk jobs: items by state, the preview, and the commands of a job."""

from typing import Any

from django.db.models import Count

from workflows.models import BulkItem, BulkJob, Command
from workflows.statuses import BulkItemState, BulkState, CommandAction

TARGET = "bulk job"


def bulk_counts(job: BulkJob) -> dict[str, int]:
    """Return the number of items by state. The sum is `job.total`.

    Cost: one statement. It reads only the index if the table was vacuumed recently.
    """
    rows = _items(job).order_by().values_list("state").annotate(Count("id"))
    return {**dict.fromkeys(BulkItemState.values, 0), **dict(rows)}


def bulk_split(job: BulkJob) -> dict[str, dict[str, int]]:
    """Return the numbers for a preview.

    Shapes: `by_status` has the number of eligible items for each status of their run. `ineligible` has the number of
    the other items for each refusal code.
    """
    rows = _items(job).order_by().values_list("state", "status_then", "code").annotate(Count("id"))
    split: dict[str, dict[str, int]] = {"by_status": {}, "ineligible": {}}
    for state, status, code, number in rows:
        kind, name = ("ineligible", code) if state == BulkItemState.INELIGIBLE else ("by_status", status)
        split[kind][name] = split[kind].get(name, 0) + number
    return split


def item_label(item: BulkItem) -> str:
    """Return the key of the item's run, or the begin of its id. The stored label has the definition before the key."""
    return item.target_label.partition(" ")[2] or f"run {str(item.target_id)[:8]}"


def bulk_commands(job: BulkJob) -> list[Command]:
    """Return the commands about the job itself, newest first, at most 100.

    Commands about its items are not included.
    """
    commands = Command.objects.filter(tenant_id=job.tenant_id, target_id=str(job.id), action=CommandAction.BULK)
    return list(commands.order_by("-requested_at")[:100])


def bulk_pause_reason(job: BulkJob) -> str:
    """Return the reason of the last pause from the ledger. Return an empty text if the job is not paused."""
    if job.state != BulkState.PAUSED:
        return ""
    pauses = (command for command in bulk_commands(job) if (command.payload or {}).get("operation") == "pause")
    last = next(pauses, None)
    if last is None:
        return ""
    return last.reason or f"paused by {last.actor_name}"


def _items(job: BulkJob) -> Any:
    return BulkItem.objects.filter(tenant_id=job.tenant_id, job=job)
