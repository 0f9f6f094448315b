"""Holders of human tasks: claim, assignment and release (docs/reference/engine.md#human-tasks)."""

import uuid

from django.db.models import Q
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, PermissionRefused
from workflows.models import HumanTask, TenantMembership
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.task_access import HOLDABLE, held_by_another, is_open, not_open, require_may_act, task_find
from workflows.statuses import CommandAction, Role, TaskStatus


def task_claim(*, actor: Actor, task_id: uuid.UUID, idempotency_key: str = "") -> HumanTask:
    """Claim the task for the actor. The actor holds the task until the task is released.

    Errors: NotFound, PermissionRefused; Conflict if another member holds the task, or if the task is not open;
    CommandRepeated.
    """
    task = task_find(actor=actor, task_id=task_id)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.CLAIM_TASK,
        target_type="task",
        target_id=str(task.id),
        idempotency_key=idempotency_key,
    ):
        require_may_act(actor, task, to="claim tasks")
        _claim(task, user_id=_user_id(actor))
    return task_find(actor=actor, task_id=task_id)


def task_assign(*, actor: Actor, task_id: uuid.UUID, username: str, idempotency_key: str = "") -> HumanTask:
    """Assign the task to a member of the tenant.

    Errors: NotFound, PermissionRefused; InputInvalid if the tenant has no such member; Conflict if the task is closed.
    """
    task = task_find(actor=actor, task_id=task_id)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.ASSIGN_TASK,
        target_type="task",
        target_id=str(task.id),
        payload={"username": username},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.OPERATOR, to="assign tasks")
        member = TenantMembership.objects.filter(tenant_id=actor.tenant_id, user__username=username).first()
        if member is None:
            raise InputInvalid(f"{username!r} is not a member of this tenant; choose a member", code="MEMBER_UNKNOWN")
        moved = HumanTask.objects.filter(is_open(), id=task.id).update(
            status=TaskStatus.CLAIMED, claimed_by_id=member.user_id, claimed_at=timezone.now()
        )
        if not moved:
            raise not_open(task)
    return task_find(actor=actor, task_id=task_id)


def task_release(*, actor: Actor, task_id: uuid.UUID, idempotency_key: str = "") -> HumanTask:
    """Release the task. After that, every assignee may claim the task.

    Errors: NotFound, PermissionRefused; Conflict if the actor does not hold the task and is not an administrator.
    """
    task = task_find(actor=actor, task_id=task_id)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.RELEASE_TASK,
        target_type="task",
        target_id=str(task.id),
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.OPERATOR, to="release tasks")
        held = HumanTask.objects.filter(is_open(), id=task.id, claimed_by__isnull=False)
        if not actor.has_role(Role.ADMIN):
            held = held.filter(claimed_by_id=_user_id(actor))
        if not held.update(status=TaskStatus.PENDING, claimed_by=None, claimed_at=None):
            raise Conflict(
                "you do not hold this task; only its holder or an administrator can release it", code="TASK_NOT_CLAIMED"
            )
    return task_find(actor=actor, task_id=task_id)


def _claim(task: HumanTask, *, user_id: int) -> None:
    free = Q(claimed_by__isnull=True) | Q(claimed_by_id=user_id)
    claimed = HumanTask.objects.filter(is_open(), free, id=task.id).update(
        status=TaskStatus.CLAIMED, claimed_by_id=user_id, claimed_at=timezone.now()
    )
    if not claimed:
        task.refresh_from_db()
        raise not_open(task) if task.status not in HOLDABLE else held_by_another(task)


def _user_id(actor: Actor) -> int:
    if actor.kind != "user":
        raise PermissionRefused("an API token cannot hold a task; it can complete a task that no member holds")
    return int(actor.id)
