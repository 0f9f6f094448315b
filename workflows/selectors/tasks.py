"""Inbox of human tasks: one page of tasks by due time, and the number of tasks in each part of the inbox."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q, QuerySet

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import HumanTask
from workflows.selectors.attention import tasks_due_soon
from workflows.selectors.counts import count_text, part_counts
from workflows.statuses import OPEN_TASK_STATUSES

PAGE = 50
# Parts of the inbox. All parts except `closed` have the open tasks.
MINE, UNCLAIMED, ALL, CLOSED = "mine", "unclaimed", "all", "closed"
PARTS = (MINE, UNCLAIMED, ALL, CLOSED)
DECISIONS, DUE_SOON = "decisions", "hour"


@dataclass(frozen=True)
class InboxPage:
    """One page of the inbox. `next_after` is the place of the next page; it is empty on the last page."""

    tasks: list[HumanTask]
    next_after: str


def inbox_page(
    *,
    tenant_id: uuid.UUID,
    user_id: int,
    part: str,
    only_decisions: bool = False,
    only_due_soon: bool = False,
    after: str = "",
) -> InboxPage:
    """Return one page of tasks. Open tasks are sorted by due time, closed tasks by the time of their start.

    Cost: one statement on an index. Errors: ValueError for an `after` that no page has given.
    """
    tasks = HumanTask.objects.filter(tenant_id=tenant_id).select_related("run", "claimed_by")
    tasks = tasks.defer("context_data", "form_schema", "response", "run__input", "run__output", "run__error")
    tasks = _filtered(tasks, only_decisions=only_decisions, only_due_soon=only_due_soon)
    if part == CLOSED:
        tasks = _after_closed(tasks.exclude(status__in=OPEN_TASK_STATUSES), after)
    else:
        tasks = _after_open(_open(tasks, part, user_id), after)
    found = list(tasks[: PAGE + 1])
    return InboxPage(found[:PAGE], _place(found[PAGE - 1], part) if len(found) > PAGE else "")


def inbox_counts(
    *, tenant_id: uuid.UUID, user_id: int, only_decisions: bool = False, only_due_soon: bool = False
) -> dict[str, str]:
    """Return the number of open tasks in each part as text, with the filters of the page.

    The text is `1,000+` for more tasks than are counted. It is empty if the count takes too long. Cost: one statement.
    """
    tasks = HumanTask.objects.filter(tenant_id=tenant_id)
    tasks = _filtered(tasks, only_decisions=only_decisions, only_due_soon=only_due_soon)
    parts = {part: _open(tasks, part, user_id) for part in (MINE, UNCLAIMED, ALL)}
    counts = part_counts(parts, tenant_id=tenant_id)
    return {part: count_text(counts[part] if counts else None) for part in parts}


def _filtered(tasks: QuerySet[HumanTask], *, only_decisions: bool, only_due_soon: bool) -> QuerySet[HumanTask]:
    if only_decisions:
        tasks = tasks.filter(task_type=DECIDE_OUTCOME)
    return tasks_due_soon(tasks) if only_due_soon else tasks


def _open(tasks: QuerySet[HumanTask], part: str, user_id: int) -> QuerySet[HumanTask]:
    tasks = tasks.filter(status__in=OPEN_TASK_STATUSES)
    if part == MINE:
        return tasks.filter(claimed_by_id=user_id)
    return tasks.filter(claimed_by__isnull=True) if part == UNCLAIMED else tasks


def _after_open(tasks: QuerySet[HumanTask], after: str) -> QuerySet[HumanTask]:
    ordered = tasks.order_by(F("due_at").asc(nulls_last=True), "id")
    if not after:
        return ordered
    moment, task_id = _read_place(after)
    if moment is None:
        return ordered.filter(due_at__isnull=True, id__gt=task_id)
    return ordered.filter(Q(due_at__gt=moment) | Q(due_at=moment, id__gt=task_id) | Q(due_at__isnull=True))


def _after_closed(tasks: QuerySet[HumanTask], after: str) -> QuerySet[HumanTask]:
    ordered = tasks.order_by("-created_at", "-id")
    if not after:
        return ordered
    moment, task_id = _read_place(after)
    return ordered.filter(Q(created_at__lt=moment) | Q(created_at=moment, id__lt=task_id))


def _place(task: HumanTask, part: str) -> str:
    moment = task.created_at if part == CLOSED else task.due_at
    return f"{'' if moment is None else moment.isoformat()}_{task.id}"


def _read_place(text: str) -> tuple[datetime | None, uuid.UUID]:
    moment, _, task_id = text.partition("_")
    return (datetime.fromisoformat(moment) if moment else None), uuid.UUID(task_id)
