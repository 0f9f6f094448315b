"""Queries about bulk jobs: items by state, the preview, and the commands of a job."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.db.models.fields.json import KeyTransform

from workflows.models import BulkItem, BulkJob, Command
from workflows.models.fields import short_id
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState

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


def left_out_of_job() -> KeyTransform:
    """Return the numbers of the runs that a job leaves out, by code. They are stored in the facts of its preview."""
    return KeyTransform("left_out", "preview")


def job_title(job: BulkJob, left_out: dict[str, int] | None) -> str:
    """Return the request of a job as a title: `Replay 6 of 41 runs`. `left_out` is the value of `left_out_of_job`."""
    starts = job.total - sum((left_out or {}).values())
    of_all = "" if starts == job.total else f"{starts:,} of "
    return f"{job.action.title()} {of_all}{job.total:,} run{'' if job.total == 1 else 's'}"


def item_label(item: BulkItem) -> str:
    """Return the key of the item's run, or the begin of its id. The stored label has the definition before the key."""
    return item.target_label.partition(" ")[2] or f"run {short_id(item.target_id)}"


def bulk_commands(job: BulkJob) -> list[Command]:
    """Return the commands about the job itself, newest first, at most 100.

    Commands about its items are not included.
    """
    commands = Command.objects.filter(tenant_id=job.tenant_id, target_id=str(job.id), action=CommandAction.BULK)
    return list(commands.order_by("-requested_at")[:100])


def bulk_pause_reason(job: BulkJob) -> str:
    """Return the reason of the last pause from the ledger. Return an empty text if the job is not paused."""
    return _reason_of_step(bulk_commands(job), "pause", "paused") if job.state == BulkState.PAUSED else ""


def bulk_stop_reason(job: BulkJob, commands: Iterable[Command]) -> str:
    """Return the reason of the stop, or an empty text if the job is not stopped. `commands`: of `bulk_commands`."""
    return _reason_of_step(commands, "stop", "stopped") if job.state == BulkState.STOPPED else ""


def _reason_of_step(commands: Iterable[Command], operation: str, verb: str) -> str:
    """Return the reason of the last such step, or who requested it, or an empty text without such a step."""
    done = (command for command in commands if command.state == CommandState.OBSERVED)
    last = next((command for command in done if (command.payload or {}).get("operation") == operation), None)
    return "" if last is None else last.reason or f"{verb} by {last.actor_name}"


def working_time(job: BulkJob, commands: Iterable[Command]) -> timedelta | None:
    """Return the time in which the job sent its requests, without its pauses. Return None for a job that goes on.

    `commands` are those of `bulk_commands`. A job that is paused, or whose failed requests are repeated later, does not
    work in the meantime.
    """
    if job.started_at is None or job.ended_at is None:
        return None
    begins, ends = [job.started_at], [job.ended_at]
    for command in commands:
        operation = (command.payload or {}).get("operation")
        if command.state not in (CommandState.ACCEPTED, CommandState.OBSERVED):
            continue
        if operation in ("resume", "retry_failures"):
            begins.append(command.requested_at)
        elif operation == "pause":
            ends.append(command.requested_at)
        # The command that the job carries out is observed when the job ends. Others are observed at once.
        if (
            operation in ("start", "retry_failures")
            and command.observed_at
            and command.observed_at != command.decided_at
        ):
            ends.append(command.observed_at)
    worked, since = timedelta(), None
    for at, is_begin in sorted([(at, True) for at in begins] + [(at, False) for at in ends]):
        if is_begin:
            since = since or at
        elif since is not None:
            worked, since = worked + (at - since), None
    return worked


def working_times(jobs: Sequence[BulkJob]) -> dict[uuid.UUID, timedelta | None]:
    """Return `working_time` of jobs of one tenant. Cost: one statement."""
    if not jobs:
        return {}
    commands: dict[str, list[Command]] = defaultdict(list)
    rows = Command.objects.filter(
        tenant_id=jobs[0].tenant_id, target_id__in=[str(job.id) for job in jobs], action=CommandAction.BULK
    )
    for command in rows.only("target_id", "payload", "state", "requested_at", "decided_at", "observed_at"):
        commands[command.target_id].append(command)
    return {job.id: working_time(job, commands[str(job.id)]) for job in jobs}


def _items(job: BulkJob) -> Any:
    return BulkItem.objects.filter(tenant_id=job.tenant_id, job=job)
