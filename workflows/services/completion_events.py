"""Completion of human tasks by events. The rules of the task apply to the sender of the event.

The dispatcher calls `completion_open` before it signals the event. This check is not in the workflow, because only the
event's row has the sender. The workflow then checks the form. Every such completion has a row in the command ledger,
even if it is refused. The states of this row are:

1. `requested`: written before the signal.
2. `accepted`: Temporal has the signal.
3. `observed`, or `failed` with the reason: the workflow's verdict on the event.

If the step names the event in `completeOn`, the author has allowed the completion. Such an event needs no role,
assignment or claim.

Source: docs/reference/engine.md#human-tasks
"""

import uuid

from workflows.actors import Actor, system_actor
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.engine.wait_steps import response_in
from workflows.errors import PermissionRefused, PortalError
from workflows.ledger import command_open, command_refuse, completion_key
from workflows.models import Command, Event, EventDelivery, HumanTask
from workflows.services.decisions import decision_parts
from workflows.services.task_access import require_may_act
from workflows.statuses import (
    OPEN_TASK_STATUSES,
    CommandAction,
    CommandSource,
    CommandState,
    EventSource,
    Role,
)

PERSONS = ("user", "token")


def event_sender(event: Event) -> Actor:
    """Return the actor that sent the event. If a process sent the event, return the system actor."""
    if event.sender_type not in PERSONS:
        return system_actor(event.tenant_id, name=event.sender or event.get_source_display())
    source = CommandSource.ADMIN if event.source == EventSource.ADMIN else CommandSource.API
    role = Role(event.sender_role)
    return Actor(event.sender_type, event.sender_id, event.sender, event.tenant_id, role, source)


def completion_open(delivery: EventDelivery) -> Command | None:
    """Write the ledger row of the completion that this delivery requests, and check the sender.

    Return None if the wait has no human task. The caller writes the result of the signal to the returned row.
    Idempotency: a repeated attempt of the delivery uses the same row.
    Errors: PortalError if the sender may not complete the task. The refusal is recorded in the row.
    """
    if delivery.wait_id is None:
        return None
    tasks = HumanTask.objects.select_related("run", "claimed_by")
    task = tasks.filter(tenant_id=delivery.tenant_id, id=delivery.wait_id).first()
    if task is None:
        return None
    actor = event_sender(delivery.event)
    command = _open_row(actor, task, delivery)
    try:
        _require_may_complete(actor, task)
    except PortalError as error:
        raise command_refuse(command, error) from error
    return command


def completion_problem(event: Event, task: HumanTask) -> str:
    """Return the reason why the sender of the event may not complete the task, or "". Nothing is written."""
    try:
        _require_may_complete(event_sender(event), task)
    except PortalError as error:
        return refusal_reason(error)
    return ""


def refusal_reason(error: PortalError) -> str:
    """Return the reason of a delivery whose completion was refused."""
    return f"the sender may not complete the task: {error.message} ({error.code})"


def _open_row(actor: Actor, task: HumanTask, delivery: EventDelivery) -> Command:
    """Return the row of an earlier attempt if it has no final outcome yet. Otherwise return a new row."""
    event, key = delivery.event, completion_key(delivery.id)
    rows = Command.objects.filter(tenant_id=task.tenant_id, target_id=str(task.id), idempotency_key__startswith=key)
    earlier = list(rows.order_by("-requested_at"))
    if earlier and earlier[0].state not in (CommandState.REFUSED, CommandState.FAILED):
        return earlier[0]
    response = response_in(event.event_type, event.payload)
    reason, payload = "", {"response": response}
    if task.task_type == DECIDE_OUTCOME:
        _, reason, payload = decision_parts(response, "")
    return command_open(
        actor=actor,
        action=CommandAction.COMPLETE_TASK,
        target_type="task",
        target_id=str(task.id),
        run=task.run,
        reason=reason or f"event {event.event_id}",
        payload=payload,
        idempotency_key=f"{key}:{len(earlier)}" if earlier else key,
    )


def _require_may_complete(actor: Actor, task: HumanTask) -> None:
    """Refuse a sender who may not complete an open task. If the task is closed, the workflow's verdict decides.

    Errors: PermissionRefused; Conflict if a member holds the task.
    """
    if task.status not in OPEN_TASK_STATUSES:
        return
    if actor.kind not in PERSONS and not task.allow_system_completion:
        raise PermissionRefused(
            "the step does not allow the system actor to complete this task (allowSystemCompletion is false); complete"
            " the task on its page or with the API",
            code="TASK_SYSTEM_FORBIDDEN",
        )
    if not task.complete_on_event:
        require_may_act(actor, task, to="complete tasks")


def completion_delivery(command: Command) -> EventDelivery | None:
    """Return the delivery of the event that requested this completion. Return None if a person sent the request."""
    prefix, _, rest = command.idempotency_key.partition(":")
    if prefix != "delivery":
        return None
    try:
        delivery_id = uuid.UUID(rest.partition(":")[0])
    except ValueError:
        return None  # a client's own key has the same beginning
    return EventDelivery.objects.filter(tenant_id=command.tenant_id, id=delivery_id).first()
