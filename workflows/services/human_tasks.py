"""Human tasks: who takes one, and how a response reaches the run (docs/reference/engine.md#human-tasks).

A completion is checked here (actor, permission, claim, form), the task moves to `completing` by compare-and-set, and then
Temporal is asked by an update whose id is the command's; no lock is held over the call. The update's validator checks task
and form again where the truth is, so a response that comes too late or does not fit never enters history. The task is
`completed` when the workflow's own record says so. What Temporal refused puts the task back as it was.
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
from workflows.ledger import command_finish, command_refuse, command_transaction
from workflows.models import Command, HumanTask, TenantMembership
from workflows.services.idempotency import command_request
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, CommandState, Role, TaskStatus
from workflows.temporal import gateway
from workflows.temporal.contracts import TaskResponse
from workflows.temporal.updates import complete_task

OPEN = (TaskStatus.PENDING, TaskStatus.CLAIMED)
# A completion whose process died is taken over after this; the workflow takes one response only.
COMPLETING_FOR = timedelta(seconds=60)
WHY_REFUSED = {
    "TASK_NOT_OPEN": "Somebody or something else has closed it; look at the run.",
    "TASK_BEING_DECIDED": "Look again in a moment.",
    "TASK_RESPONSE_INVALID": "Change the response so that it fits the form.",
}


def task_find(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Errors: NotFound for another tenant's task as for one that does not exist."""
    task = HumanTask.objects.select_related("run", "claimed_by").filter(tenant_id=actor.tenant_id, id=task_id).first()
    if task is None:
        raise NotFound(f"there is no task {task_id}", code="TASK_NOT_FOUND")
    return task


def require_task_role(*, actor: Actor, task_id: uuid.UUID, action: CommandAction) -> None:
    """For a request that cannot be taken as it was sent. Errors: NotFound, PermissionRefused; a denied attempt is recorded."""
    task = task_find(actor=actor, task_id=task_id)
    require_role(
        actor=actor, needs=Role.OPERATOR, to=f"{action.replace('_task', '')} tasks", action=action, target_type="task",
        target_id=str(task.id), run=task.run,
    )  # fmt: skip


def task_complete(
    *, actor: Actor, task_id: uuid.UUID, response: Any, reason: str = "", idempotency_key: str = ""
) -> Command:
    """The ledger row, accepted: the run has the response. The task is completed when the workflow has recorded it.

    Errors: NotFound, PermissionRefused, InputInvalid (the form), Conflict (not open, claimed by another, refused by the
    workflow), DependencyDown when Temporal does not answer.
    """
    unstorable = storable_problem(response)
    if unstorable is not None:
        require_task_role(actor=actor, task_id=task_id, action=CommandAction.COMPLETE_TASK)
        raise InputInvalid(f"the response {unstorable[1]}", code="TASK_RESPONSE_INVALID")
    task = task_find(actor=actor, task_id=task_id)
    command, is_new = command_request(
        actor=actor,
        action=CommandAction.COMPLETE_TASK,
        target_type="task",
        target_id=str(task.id),
        run=task.run,
        reason=reason,
        payload={"response": response},
        idempotency_key=idempotency_key,
    )
    if not is_new:
        return command
    try:
        _check_may_act(actor, task, to="complete tasks")
        problem = form_problem(task.form_schema, response)
        if problem is not None:
            raise InputInvalid(f"the response does not fit the form: {problem}", code="TASK_RESPONSE_INVALID")
        before = _move_to_completing(actor, task)
    except PortalError as error:
        raise command_refuse(command, error) from error
    try:
        _send(actor, task, command, response, before)
    except PortalError:
        raise
    except Exception:
        message = "a fault of the portal; it is in the log"
        command_finish(command, CommandState.FAILED, code="INTERNAL_ERROR", message=message, http_status=500)
        raise
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
            "hint": "The run may have the response. Look at the task.",
        }
        unknown = DependencyDown(
            "Temporal did not answer in time; whether the run has the response is not known yet",
            code="TEMPORAL_UNAVAILABLE",
            details=details,
        )
        raise command_refuse(command, unknown, CommandState.UNKNOWN) from error
    except gateway.TemporalError as error:
        HumanTask.objects.filter(id=task.id, status=TaskStatus.COMPLETING).update(status=before, completing_at=None)
        raise command_refuse(command, _refusal(error)) from error


def _refusal(error: gateway.TemporalError) -> PortalError:
    if isinstance(error, gateway.UpdateRejected):
        hint = WHY_REFUSED.get(error.code, "")
        kind = InputInvalid if error.code == "TASK_RESPONSE_INVALID" else Conflict
        return kind(f"the run did not take the response: {error}", code=error.code, details={"hint": hint})
    if isinstance(error, gateway.TemporalNotFound):
        return Conflict("the run has ended", code="TASK_NOT_OPEN", details={"error": str(error)})
    if isinstance(error, gateway.TemporalRefused):
        return Conflict(f"Temporal refused the response: {error}", code="TEMPORAL_REFUSED")
    return DependencyDown(
        "Temporal is not reachable; the task is as it was",
        code="TEMPORAL_UNAVAILABLE",
        details={"error": str(error), "hint": "See that Temporal is up, then complete the task again."},
    )


def _move_to_completing(actor: Actor, task: HumanTask) -> str:
    """The status before. Errors: Conflict when the task is not open, or another has claimed it meanwhile."""
    free = HumanTask.objects.filter(is_open(), id=task.id)
    if not actor.has_role(Role.ADMIN):
        holder = Q(claimed_by_id=int(actor.id)) if actor.kind == "user" else Q(pk=None)
        free = free.filter(Q(claimed_by__isnull=True) | holder)
    if not free.update(status=TaskStatus.COMPLETING, completing_at=timezone.now()):
        task.refresh_from_db()
        raise _claimed(task) if task.status in OPEN else _not_open(task)
    return str(TaskStatus.PENDING if task.claimed_by_id is None else TaskStatus.CLAIMED)


def is_open() -> Q:
    """Tasks that can be acted on: one whose completion was abandoned is open again after a while."""
    abandoned = Q(status=TaskStatus.COMPLETING, completing_at__lt=timezone.now() - COMPLETING_FOR)
    return Q(status__in=OPEN) | abandoned


def task_claim(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """The task is the actor's own until it is released. Errors: Conflict when it is another's, or not open."""
    task = task_find(actor=actor, task_id=task_id)
    with command_transaction(actor=actor, action=CommandAction.CLAIM_TASK, target_type="task", target_id=str(task.id)):
        _check_may_act(actor, task, to="claim tasks")
        _take(task, user_id=_user_id(actor))
    return task_find(actor=actor, task_id=task_id)


def task_assign(*, actor: Actor, task_id: uuid.UUID, username: str) -> HumanTask:
    """Give the task to a member. Errors: InputInvalid when the tenant has no such member."""
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
            raise InputInvalid(f"{username!r} is no member of this tenant", code="MEMBER_UNKNOWN")
        moved = HumanTask.objects.filter(is_open(), id=task.id).update(
            status=TaskStatus.CLAIMED, claimed_by_id=member.user_id, claimed_at=timezone.now()
        )
        if not moved:
            raise _not_open(task)
    return task_find(actor=actor, task_id=task_id)


def task_release(*, actor: Actor, task_id: uuid.UUID) -> HumanTask:
    """Anybody may take the task again. Errors: Conflict when the actor does not hold it and is no admin."""
    task = task_find(actor=actor, task_id=task_id)
    with command_transaction(
        actor=actor, action=CommandAction.RELEASE_TASK, target_type="task", target_id=str(task.id)
    ):
        actor.require(Role.OPERATOR, to="release tasks")
        held = HumanTask.objects.filter(is_open(), id=task.id, claimed_by__isnull=False)
        if not actor.has_role(Role.ADMIN):
            held = held.filter(claimed_by_id=_user_id(actor))
        if not held.update(status=TaskStatus.PENDING, claimed_by=None, claimed_at=None):
            raise Conflict("you do not hold this task", code="TASK_NOT_CLAIMED")
    return task_find(actor=actor, task_id=task_id)


def _take(task: HumanTask, *, user_id: int) -> None:
    free = Q(claimed_by__isnull=True) | Q(claimed_by_id=user_id)
    taken = HumanTask.objects.filter(is_open(), free, id=task.id).update(
        status=TaskStatus.CLAIMED, claimed_by_id=user_id, claimed_at=timezone.now()
    )
    if not taken:
        task.refresh_from_db()
        raise _not_open(task) if task.status not in OPEN else _claimed(task)


def _check_may_act(actor: Actor, task: HumanTask, *, to: str) -> None:
    """Errors: PermissionRefused for one who is not among the assignees; Conflict when another holds the task."""
    actor.require(Role.OPERATOR, to=to)
    if actor.has_role(Role.ADMIN):
        return
    is_person = actor.kind == "user"
    if task.claimed_by_id is not None:
        if is_person and str(task.claimed_by_id) == actor.id:
            return  # whoever it was given to may act
        raise _claimed(task)
    users, roles = task.assigned_users, task.assigned_roles
    by_name = is_person and (actor.name in users or actor.id in users)
    by_role = any(actor.has_role(Role(role)) for role in roles if role in Role.values)
    if (users or roles) and not (by_name or by_role):
        raise PermissionRefused("the task is assigned to others", details={"users": users, "roles": roles})


def _user_id(actor: Actor) -> int:
    if actor.kind != "user":
        raise PermissionRefused("only a person can hold a task; a token can complete one that nobody holds")
    return int(actor.id)


def _claimed(task: HumanTask) -> Conflict:
    holder = task.claimed_by.get_username() if task.claimed_by else "another"
    return Conflict(f"the task is held by {holder}", code="TASK_CLAIMED", details={"claimedBy": holder})


def _not_open(task: HumanTask) -> Conflict:
    return Conflict(f"the task is {task.status}", code="TASK_NOT_OPEN", details={"status": task.status})
