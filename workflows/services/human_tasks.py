"""Human tasks: claim, assignment, release and completion (docs/reference/engine.md#human-tasks).

The way of a response:
1. This service checks the actor, the permission, the claim and the form.
2. The task moves to `completing` by compare-and-set. No lock is held during the call to Temporal.
3. Temporal gets an update whose id is the id of the command.
4. The update's validator in the workflow checks task and form again. So a late or invalid response never enters the
   history.
5. The workflow's own record moves the task to `completed`. If Temporal refuses the update, the task gets its old
   status.
"""

import uuid
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from workflows.actors import Actor
from workflows.engine.json_schema.forms import form_problem
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, DependencyDown, InputInvalid, NotFound, PermissionRefused, PortalError
from workflows.ledger import command_failures_recorded, command_finish, command_refuse, command_transaction
from workflows.models import Command, HumanTask, TenantMembership
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, CommandState, Role, TaskStatus
from workflows.temporal import gateway
from workflows.temporal.contracts import TaskResponse
from workflows.temporal.updates import complete_task

OPEN = (TaskStatus.PENDING, TaskStatus.CLAIMED)
# Another completion may replace one whose process died after this time. The workflow accepts only one response.
COMPLETING_FOR = timedelta(seconds=60)
HINTS_OF_REFUSALS = {
    "TASK_NOT_OPEN": "Another response, a timeout or the end of the run closed the task. Look at the run.",
    "TASK_BEING_DECIDED": "Another response is being processed. Look at the task again in a moment.",
    "TASK_RESPONSE_INVALID": "Change the response so that it fits the form, then send it again.",
}


def task_find(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Return the task.

    Errors: NotFound, also for a task of another tenant.
    """
    task = HumanTask.objects.select_related("run", "claimed_by").filter(tenant_id=actor.tenant_id, id=task_id).first()
    if task is None:
        raise NotFound(f"there is no task {task_id}", code="TASK_NOT_FOUND")
    return task


def require_task_role(*, actor: Actor, task_id: uuid.UUID, action: CommandAction) -> None:
    """Refuse an actor who may not work on tasks. Call it before an invalid request is rejected.

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


def task_complete(
    *, actor: Actor, task_id: uuid.UUID, response: Any, reason: str = "", idempotency_key: str = ""
) -> Command:
    """Send a response to the run and return the accepted command. The workflow's own record completes the task.

    Errors: NotFound, PermissionRefused; InputInvalid (form); Conflict (not open, held by another member, refused by the
    workflow); DependencyDown if Temporal does not respond.
    """
    unstorable = storable_problem(response)
    if unstorable is not None:
        require_task_role(actor=actor, task_id=task_id, action=CommandAction.COMPLETE_TASK)
        raise InputInvalid(f"the response {unstorable[1]}", code="TASK_RESPONSE_INVALID")
    task = task_find(actor=actor, task_id=task_id)
    request = command_request(
        actor=actor,
        action=CommandAction.COMPLETE_TASK,
        target_type="task",
        target_id=str(task.id),
        run=task.run,
        reason=reason,
        payload={"response": response},
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        return command
    with command_failures_recorded([command]):
        _require_may_act(actor, task, to="complete tasks")
        problem = form_problem(task.form_schema, response)
        if problem is not None:
            raise InputInvalid(f"the response does not fit the form: {problem}", code="TASK_RESPONSE_INVALID")
        before = _move_to_completing(actor, task)
        _send(actor, task, command, response, before)
    command_finish(command, CommandState.ACCEPTED)
    return command


def _send(actor: Actor, task: HumanTask, command: Command, response: Any, before: str) -> None:
    try:
        complete_task(
            TaskResponse(taskId=str(task.id), response=response, completedBy=actor.name, commandId=str(command.id)),
            workflow_id=task.run.temporal_workflow_id,
            first_run_id=task.run.temporal_first_run_id,
            update_id=str(command.id),
        )
    except gateway.TemporalTimeout as error:
        details = {
            "error": str(error),
            "outcome": "unknown",
            "hint": "The run may have the response. Look at the task before you send the response again.",
        }
        unknown = DependencyDown(
            "Temporal did not respond in time; it is not known yet if the run has the response",
            code="TEMPORAL_UNAVAILABLE",
            details=details,
        )
        raise command_refuse(command, unknown, CommandState.UNKNOWN) from error
    except gateway.TemporalError as error:
        HumanTask.objects.filter(id=task.id, status=TaskStatus.COMPLETING).update(status=before, completing_at=None)
        raise _error_of(error) from error


def _error_of(error: gateway.TemporalError) -> PortalError:
    if isinstance(error, gateway.UpdateRejected):
        hint = HINTS_OF_REFUSALS.get(error.code, "")
        kind = InputInvalid if error.code == "TASK_RESPONSE_INVALID" else Conflict
        return kind(f"the run did not accept the response: {error}", code=error.code, details={"hint": hint})
    if isinstance(error, gateway.TemporalNotFound):
        return Conflict("the run has ended", code="TASK_NOT_OPEN", details={"error": str(error)})
    if isinstance(error, gateway.TemporalRefused):
        return Conflict(f"Temporal refused the response: {error}", code="TEMPORAL_REFUSED")
    return DependencyDown(
        "Temporal is not reachable; the task was not changed",
        code="TEMPORAL_UNAVAILABLE",
        details={"error": str(error), "hint": "Restore Temporal, then complete the task again."},
    )


def _move_to_completing(actor: Actor, task: HumanTask) -> str:
    """Move the task to `completing` and return its old status.

    Errors: Conflict if the task is not open, or if another member holds it.
    """
    free = HumanTask.objects.filter(is_open(), id=task.id)
    if not actor.has_role(Role.ADMIN):
        holder = Q(claimed_by_id=int(actor.id)) if actor.kind == "user" else Q(pk=None)
        free = free.filter(Q(claimed_by__isnull=True) | holder)
    if not free.update(status=TaskStatus.COMPLETING, completing_at=timezone.now()):
        task.refresh_from_db()
        raise _held_by_another(task) if task.status in OPEN else _not_open(task)
    return str(TaskStatus.PENDING if task.claimed_by_id is None else TaskStatus.CLAIMED)


def is_open() -> Q:
    """Return the filter for open tasks. A task whose completion was abandoned is open again after COMPLETING_FOR."""
    abandoned = Q(status=TaskStatus.COMPLETING, completing_at__lt=timezone.now() - COMPLETING_FOR)
    return Q(status__in=OPEN) | abandoned


def task_claim(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Give the task to the actor until it is released.

    Errors: NotFound, PermissionRefused; Conflict if another member holds the task, or if it is not open.
    """
    task = task_find(actor=actor, task_id=task_id)
    with command_transaction(actor=actor, action=CommandAction.CLAIM_TASK, target_type="task", target_id=str(task.id)):
        _require_may_act(actor, task, to="claim tasks")
        _claim(task, user_id=_user_id(actor))
    return task_find(actor=actor, task_id=task_id)


def task_assign(*, actor: Actor, task_id: uuid.UUID, username: str) -> HumanTask:
    """Give the task to a member of the tenant.

    Errors: NotFound, PermissionRefused; InputInvalid if the tenant has no such member; Conflict if the task is closed.
    """
    task = task_find(actor=actor, task_id=task_id)
    with command_transaction(
        actor=actor,
        action=CommandAction.ASSIGN_TASK,
        target_type="task",
        target_id=str(task.id),
        payload={"username": username},
    ):
        actor.require(Role.OPERATOR, to="assign tasks")
        member = TenantMembership.objects.filter(tenant_id=actor.tenant_id, user__username=username).first()
        if member is None:
            raise InputInvalid(f"{username!r} is not a member of this tenant; choose a member", code="MEMBER_UNKNOWN")
        moved = HumanTask.objects.filter(is_open(), id=task.id).update(
            status=TaskStatus.CLAIMED, claimed_by_id=member.user_id, claimed_at=timezone.now()
        )
        if not moved:
            raise _not_open(task)
    return task_find(actor=actor, task_id=task_id)


def task_release(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Release the task, so that every assignee may claim it.

    Errors: NotFound, PermissionRefused; Conflict if the actor does not hold the task and is not an admin.
    """
    task = task_find(actor=actor, task_id=task_id)
    with command_transaction(
        actor=actor, action=CommandAction.RELEASE_TASK, target_type="task", target_id=str(task.id)
    ):
        actor.require(Role.OPERATOR, to="release tasks")
        held = HumanTask.objects.filter(is_open(), id=task.id, claimed_by__isnull=False)
        if not actor.has_role(Role.ADMIN):
            held = held.filter(claimed_by_id=_user_id(actor))
        if not held.update(status=TaskStatus.PENDING, claimed_by=None, claimed_at=None):
            raise Conflict(
                "you do not hold this task; only its holder or an admin can release it", code="TASK_NOT_CLAIMED"
            )
    return task_find(actor=actor, task_id=task_id)


def _claim(task: HumanTask, *, user_id: int) -> None:
    free = Q(claimed_by__isnull=True) | Q(claimed_by_id=user_id)
    claimed = HumanTask.objects.filter(is_open(), free, id=task.id).update(
        status=TaskStatus.CLAIMED, claimed_by_id=user_id, claimed_at=timezone.now()
    )
    if not claimed:
        task.refresh_from_db()
        raise _not_open(task) if task.status not in OPEN else _held_by_another(task)


def _require_may_act(actor: Actor, task: HumanTask, *, to: str) -> None:
    """Refuse an actor who may not act on this task now.

    Errors: PermissionRefused if the actor is not an assignee; Conflict if another member holds the task.
    """
    actor.require(Role.OPERATOR, to=to)
    if actor.has_role(Role.ADMIN):
        return
    is_person = actor.kind == "user"
    if task.claimed_by_id is not None:
        if is_person and str(task.claimed_by_id) == actor.id:
            return  # the holder may act without being an assignee
        raise _held_by_another(task)
    users, roles = task.assigned_users, task.assigned_roles
    by_name = is_person and (actor.name in users or actor.id in users)
    by_role = any(actor.has_role(Role(role)) for role in roles if role in Role.values)
    if (users or roles) and not (by_name or by_role):
        raise PermissionRefused(
            "the task is assigned to other users or roles; an admin can assign it to you",
            details={"users": users, "roles": roles},
        )


def _user_id(actor: Actor) -> int:
    if actor.kind != "user":
        raise PermissionRefused("an API token cannot hold a task; it can complete a task that no member holds")
    return int(actor.id)


def _held_by_another(task: HumanTask) -> Conflict:
    holder = task.claimed_by.get_username() if task.claimed_by else "another member"
    return Conflict(
        f"the task is held by {holder}, who must release it first", code="TASK_CLAIMED", details={"claimedBy": holder}
    )


def _not_open(task: HumanTask) -> Conflict:
    return Conflict(
        f"the task is {task.status} and no longer open", code="TASK_NOT_OPEN", details={"status": task.status}
    )
