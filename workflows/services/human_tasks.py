"""Completion of human tasks (docs/reference/engine.md#human-tasks).

A response is processed in these steps:
1. This service checks the actor, the permission, the claim and the form.
2. The task's status is changed to `completing` with compare-and-set. No lock is held during the call to Temporal.
3. An update is sent to Temporal. The id of the update is the id of the command.
4. In the workflow, the validator of the update checks task and form again. So a late or invalid response is never
   stored in the history.
5. The workflow's own projection record changes the task's status to `completed`. If Temporal refuses the update, the
   task gets its old status back.
"""

import uuid
from typing import Any

from django.db.models import Q
from django.utils import timezone

from workflows.actors import Actor, system_actor
from workflows.engine.clock import ms_of_datetime
from workflows.engine.json_schema.check import Problem
from workflows.engine.json_schema.forms import form_problems
from workflows.engine.storable import storable_problem
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.errors import Conflict, DependencyDown, InputInvalid, PortalError
from workflows.event_decisions import RUN_ENDED, RUN_ENDED_OR_UNKNOWN, RUN_UNKNOWN
from workflows.ledger import command_failures_recorded, command_finish, command_open, command_refuse
from workflows.models import Command, HumanTask, Run
from workflows.models.statements import database_now
from workflows.services.decisions import decision_parts, output_problem
from workflows.services.idempotency import command_request
from workflows.services.runs.reconcile import run_reconcile_unknown
from workflows.services.task_access import (
    HOLDABLE,
    held_by_another,
    is_open,
    not_open,
    require_may_act,
    require_task_role,
    task_find,
)
from workflows.services.task_drafts import task_draft_delete
from workflows.statuses import CommandAction, CommandState, Role, TaskStatus
from workflows.temporal import gateway
from workflows.temporal.contracts import TaskResponse
from workflows.temporal.updates import complete_task

HINTS_OF_REFUSALS = {
    "TASK_NOT_OPEN": "Another response, a timeout or the end of the run closed the task. Look at the run.",
    "TASK_BEING_DECIDED": "Another response is being processed. Look at the task again in a moment.",
    "TASK_RESPONSE_INVALID": "Change the response so that it fits the form, then send it again.",
}


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
    payload: dict[str, Any] = {"response": response}
    if task.task_type == DECIDE_OUTCOME:
        response, reason, payload = decision_parts(response, reason)
    request = command_request(
        actor=actor,
        action=CommandAction.COMPLETE_TASK,
        target_type="task",
        target_id=str(task.id),
        run=task.run,
        reason=reason,
        payload=payload,
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        return command
    with command_failures_recorded([command]):
        require_may_act(actor, task, to="complete tasks")
        problems = form_problems(task.form_schema, response)
        if problems:
            raise _not_fitting(problems)
        problem = output_problem(task, response) if task.task_type == DECIDE_OUTCOME else None
        if problem is not None:
            raise InputInvalid(f"the response does not fit the form: {problem}", code="TASK_RESPONSE_INVALID")
        before = _move_to_completing(task, _not_held_by_another(actor))
        _send(actor, task, command, response, before)
    command_finish(command, CommandState.ACCEPTED)
    task_draft_delete(actor=actor, task=task)
    return command


def _not_fitting(problems: list[Problem]) -> InputInvalid:
    texts = "; ".join(f"{problem['pointer'] or '/'}: {problem['message']}" for problem in problems)
    return InputInvalid(
        f"the response does not fit the form: {texts}; correct it and send it again",
        code="TASK_RESPONSE_INVALID",
        details={"problems": [{"path": problem["pointer"], "message": problem["message"]} for problem in problems]},
    )


def task_take_late_result(*, task: HumanTask, response: dict[str, Any]) -> Command:
    """Close the task about an unknown outcome, because the result of the action has arrived.

    No role, claim or form is checked, because the action itself has stored the result.
    Errors: Conflict (not open, refused by the workflow); DependencyDown if Temporal does not respond.
    """
    actor = system_actor(task.tenant_id, name="late result of the action")
    command = command_open(
        actor=actor,
        action=CommandAction.COMPLETE_TASK,
        target_type="task",
        target_id=str(task.id),
        run=task.run,
        reason="the late result of the action arrived before a decision",
        payload={"response": response},
    )
    with command_failures_recorded([command]):
        before = _move_to_completing(task, Q())
        _send(actor, task, command, response, before, is_late_result=True)
    command_finish(command, CommandState.ACCEPTED)
    return command


def _send(
    actor: Actor, task: HumanTask, command: Command, response: Any, before: str, *, is_late_result: bool = False
) -> None:
    try:
        complete_task(
            TaskResponse(
                taskId=str(task.id),
                response=response,
                completedBy=actor.username or actor.name,
                commandId=str(command.id),
                isLateResult=is_late_result,
                acceptedAtMs=ms_of_datetime(database_now()),
            ),
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
        raise _error_of(error, task.run) from error


def _error_of(error: gateway.TemporalError, run: Run) -> PortalError:
    if isinstance(error, gateway.UpdateRejected):
        hint = HINTS_OF_REFUSALS.get(error.code, "")
        kind = InputInvalid if error.code == "TASK_RESPONSE_INVALID" else Conflict
        return kind(f"the run did not accept the response: {error}", code=error.code, details={"hint": hint})
    if isinstance(error, gateway.TemporalNotFound):
        return _without_run(error, run)
    if isinstance(error, gateway.TemporalRefused):
        return Conflict(f"Temporal refused the response: {error}", code="TEMPORAL_REFUSED")
    return DependencyDown(
        "Temporal is not reachable; the task was not changed",
        code="TEMPORAL_UNAVAILABLE",
        details={"error": str(error), "hint": "Restore Temporal, then complete the task again."},
    )


def _without_run(error: gateway.TemporalNotFound, run: Run) -> PortalError:
    found = run_reconcile_unknown(run)
    if found is not None and not found.is_unknown:
        return Conflict(RUN_ENDED, code="TASK_NOT_OPEN", details={"error": str(error)})
    details = {"error": str(error), "hint": "Compare the run with Temporal on its page (Verify)."}
    why = RUN_ENDED_OR_UNKNOWN if found is None else RUN_UNKNOWN
    return Conflict(f"{why}; the task was not changed", code="TASK_NOT_OPEN", details=details)


def _not_held_by_another(actor: Actor) -> Q:
    if actor.has_role(Role.ADMIN):
        return Q()
    holder = Q(claimed_by_id=int(actor.id)) if actor.kind == "user" else Q(pk=None)
    return Q(claimed_by__isnull=True) | holder


def _move_to_completing(task: HumanTask, condition: Q) -> str:
    """If the condition is true, change the task's status to `completing`. Return the old status.

    Errors: Conflict if the task is not open, or if another member holds it.
    """
    free = HumanTask.objects.filter(is_open(), condition, id=task.id)
    if not free.update(status=TaskStatus.COMPLETING, completing_at=timezone.now()):
        task.refresh_from_db()
        raise held_by_another(task) if task.status in HOLDABLE else not_open(task)
    return str(TaskStatus.PENDING if task.claimed_by_id is None else TaskStatus.CLAIMED)
