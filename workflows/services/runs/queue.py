"""Release of queued starts: the start of a workflow when its concurrency key is free.

Only the dispatcher calls these functions. All state is in the rows, so a killed process
loses nothing: the next check finds the same queue.

Source: docs/reference/events.md#concurrency-keys
"""

import logging
import time
import uuid

from workflows.actors import system_actor
from workflows.concurrency_keys import queued_due
from workflows.engine.run_keys import OnConflict
from workflows.errors import PortalError
from workflows.models import Command, Run
from workflows.services.runs.control import run_cancel
from workflows.services.runs.keys import start_check
from workflows.services.runs.launch import run_end_unstarted, run_start_workflow
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, TriggerType
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

BATCH = 20
OPEN_COMMANDS = (CommandState.REQUESTED, CommandState.ACCEPTED, CommandState.UNKNOWN)


def queued_starts_release(*, tenant_id: uuid.UUID, stop_at: float) -> int:
    """Check the due queued starts of a tenant. Return the number of checks.

    Units: `stop_at` is a time of `time.monotonic`.
    """
    checked = 0
    for run_id in list(queued_due().filter(tenant_id=tenant_id).values_list("id", flat=True)[:BATCH]):
        start_release(run_id)
        checked += 1
        if time.monotonic() > stop_at:
            break
    return checked


def start_release(run_id: uuid.UUID) -> None:
    """Start the workflow of a queued start if its key is free. Otherwise set the time of the next check.

    With `cancelOldest`, the cancel of the open run is requested. The activity of the parent releases a child.

    Idempotency: a start that is not queued is not changed.
    """
    run, holder = start_check(run_id)
    if run is None:
        return
    if run.definition.archived_at is not None and run.trigger_type != TriggerType.CHILD:
        run_end_unstarted(run, "the definition was archived while the start was queued", code="DEFINITION_ARCHIVED")
    elif run.queued_until is None:
        try:
            run_start_workflow(run)
        except gateway.TemporalError as error:
            logger.warning("run %s was released and not started yet; the sweep repeats it: %s", run.id, error)
    elif holder is not None:
        holder_cancel(run, holder)


def holder_cancel(run: Run, holder: Run) -> None:
    """Request the cancel of the run that holds the key of a queued start, if the definition says `cancelOldest`.

    The request has a row in the command ledger. If it is refused, the next check of the queue repeats it.

    Idempotency: several workers can check the queue at once. The idempotency key lets only one of them send the
    request. A repeat after a refusal has a new key, because the ledger returns the refusal for the old key.
    """
    rule = run.definition.concurrency or {}
    if rule.get("onConflict") != OnConflict.CANCEL_OLDEST or holder.queued_until is not None:
        return
    # One statement reads the states and the keys. Between two statements, another worker could write its row.
    cancels = list(
        Command.objects.filter(tenant_id=run.tenant_id, run=holder, action=CommandAction.CANCEL).values_list(
            "state", "idempotency_key"
        )
    )
    if any(state in OPEN_COMMANDS for state, _ in cancels):
        return
    # The run can have ended since the check of the queue. Its end also closes the cancel that was open.
    if not Run.objects.filter(tenant_id=run.tenant_id, id=holder.id, status__in=OPEN_RUN_STATUSES).exists():
        return
    key = f"cancel-oldest:{holder.id}"
    try:
        run_cancel(
            actor=system_actor(run.tenant_id, name="concurrency key"),
            run_id=holder.id,
            reason=f"the run {run.id} with the same concurrency key was started",
            idempotency_key=f"{key}:{sum(used.startswith(key) for _, used in cancels)}",
        )
    except PortalError as error:
        logger.warning("run %s waits for run %s, whose cancel was not accepted: %s", run.id, holder.id, error)
