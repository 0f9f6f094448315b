"""Access to human tasks.

This module checks if an actor may act on a task, and if the task is open (docs/reference/engine.md#human-tasks).
"""

import uuid
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from workflows.actors import Actor, person_name
from workflows.errors import Conflict, NotFound, PermissionRefused
from workflows.models import HumanTask
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role, TaskStatus

HOLDABLE = (TaskStatus.PENDING, TaskStatus.CLAIMED)
# After this time, a completion counts as abandoned because its process has probably died. Another completion may then
# replace it. The workflow accepts only one response.
COMPLETING_FOR = timedelta(seconds=60)


def task_find(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Return the task.

    Errors: NotFound. A task of another tenant counts as not found.
    """
    task = HumanTask.objects.select_related("run", "claimed_by").filter(tenant_id=actor.tenant_id, id=task_id).first()
    if task is None:
        raise NotFound(f"there is no task {task_id}", code="TASK_NOT_FOUND")
    return task


def require_task_role(*, actor: Actor, task_id: uuid.UUID, action: CommandAction) -> None:
    """Refuse an actor who may not work on tasks.

    Call this function before errors in the request are reported.

    Errors: NotFound; PermissionRefused, and the attempt is recorded in the ledger.
    """
    task = task_find(actor=actor, task_id=task_id)
    require_role(
        actor=actor,
        needs=Role.OPERATOR,
        to=f"{action.replace('_task', '')} tasks",
        action=action,
        target_type="task",
        target_id=str(task.id),
        run=task.run,
    )


def is_open() -> Q:
    """Return the filter for open tasks. If a completion was abandoned, its task is open again after COMPLETING_FOR."""
    abandoned = Q(status=TaskStatus.COMPLETING, completing_at__lt=timezone.now() - COMPLETING_FOR)
    return Q(status__in=HOLDABLE) | abandoned


def require_open(task: HumanTask) -> None:
    """Refuse a task that is not open. The row was just read.

    Errors: Conflict TASK_NOT_OPEN.
    """
    completing_at = task.completing_at
    is_abandoned = completing_at is not None and completing_at < timezone.now() - COMPLETING_FOR
    if task.status not in HOLDABLE and not (task.status == TaskStatus.COMPLETING and is_abandoned):
        raise not_open(task)


def require_may_act(actor: Actor, task: HumanTask, *, to: str) -> None:
    """Refuse an actor who may not act on this task now.

    Errors: PermissionRefused if the actor is not an assignee; Conflict if another member holds the task.
    """
    actor.require(Role.OPERATOR, to=to)
    if actor.has_role(Role.ADMIN):
        return
    if task.claimed_by_id is not None:
        if actor.kind == "user" and str(task.claimed_by_id) == actor.id:
            return  # the holder may act without being an assignee
        raise held_by_another(task)
    if actor.kind == "system":
        return  # no task can be assigned to it; `allowSystemCompletion` decides if it may act
    if not is_assignee(actor, task):
        raise PermissionRefused(
            "the task is assigned to other users or roles; an administrator can assign it to you",
            details={"users": task.assigned_users, "roles": task.assigned_roles},
        )


def is_assignee(actor: Actor, task: HumanTask) -> bool:
    """Return True if the task is for this actor, by name or by role, or if it names nobody."""
    users, roles = task.assigned_users, task.assigned_roles
    by_name = actor.kind == "user" and ((actor.username or actor.name) in users or actor.id in users)
    by_role = any(actor.has_role(Role(role)) for role in roles if role in Role.values)
    return by_name or by_role or not (users or roles)


def held_by_another(task: HumanTask) -> Conflict:
    holder = person_name(task.claimed_by) if task.claimed_by else "another member"
    username = task.claimed_by.get_username() if task.claimed_by else holder
    return Conflict(
        f"the task is held by {holder}, who must release it first", code="TASK_CLAIMED", details={"claimedBy": username}
    )


def not_open(task: HumanTask) -> Conflict:
    return Conflict(
        f"the task is {task.status} and no longer open", code="TASK_NOT_OPEN", details={"status": task.status}
    )
