"""Inbox of human tasks: one page of tasks by due time, and the number of tasks in each part of the inbox."""

import uuid

from django.db.models import QuerySet

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import HumanTask
from workflows.selectors.attention import tasks_due_soon
from workflows.selectors.counts import count_text, part_counts
from workflows.selectors.keyset import KeysetPage, keyset_page
from workflows.statuses import OPEN_TASK_STATUSES

PAGE = 50
# Parts of the inbox. All parts except `closed` have the open tasks.
MINE, UNCLAIMED, ALL, CLOSED = "mine", "unclaimed", "all", "closed"
PARTS = (MINE, UNCLAIMED, ALL, CLOSED)
DECISIONS, DUE_SOON = "decisions", "hour"
_UNREAD = (
    "context_data", "form_schema", "response", "run__input", "run__output", "run__error", "run__definition__draft_text",
)  # fmt: skip


def inbox_page(
    *,
    tenant_id: uuid.UUID,
    user_id: int,
    part: str,
    only_decisions: bool = False,
    only_due_soon: bool = False,
    at: str = "",
) -> KeysetPage:
    """Return one page of tasks. Open tasks are sorted by due time, closed tasks by the time of their start.

    `at` is the position of an earlier page. Cost: one statement on an index, and one more for tasks without a due time.
    """
    tasks = HumanTask.objects.filter(tenant_id=tenant_id).select_related("run__definition", "claimed_by")
    tasks = tasks.defer(*_UNREAD)
    tasks = _filtered(tasks, only_decisions=only_decisions, only_due_soon=only_due_soon)
    if part == CLOSED:
        tasks = tasks.exclude(status__in=OPEN_TASK_STATUSES).order_by("-created_at", "-id")
    else:
        tasks = _open(tasks, part, user_id).order_by("due_at", "id")
    return keyset_page(tasks, at=at, size=PAGE)


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
