"""Commands without a known outcome. This module asks Temporal and decides if they are observed or failed.

Three kinds of commands are decided here:

- `unknown`: Temporal did not respond in time.
- `requested` for minutes: the process that sent the request has died.
- `accepted`, but the run has ended and its records do not contain the command.

A command is decided only after a time that is longer than any call to Temporal. So its request cannot still be on its
way.

Some commands change rows and write their outcome in one commit (`command_transaction`,
`commands_finish_in_transaction`). While such a command is `requested`, it has changed nothing. If its process still
runs after the command was decided here, the process's commit is refused.

Source: docs/reference/authority.md#command-ledger
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.event_outcomes import IN_PROGRESS
from workflows.ledger import command_resolve_unknown, run_id_of_replay
from workflows.models import Command, EventDelivery, Run
from workflows.services.completion_events import completion_delivery
from workflows.services.runs.launch import workflow_id_of
from workflows.services.runs.reconcile import run_reconcile_unknown
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    RUN_STATUS_OF_TEMPORAL,
    CommandAction,
    CommandState,
    DeliveryStatus,
    RunStatus,
)
from workflows.temporal import gateway
from workflows.temporal.history import HistoryUnreadable
from workflows.temporal.run_history import read_run_history
from workflows.temporal.updates import update_is_known

logger = logging.getLogger(__name__)

DECIDE_AFTER = timedelta(seconds=60)
ABANDONED_AFTER = timedelta(minutes=5)
BATCH = 100
LOOK_BACK = timedelta(days=30)
RECORDED_BY_THE_RUN = (CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.COMPLETE_TASK)

# The decision is None if the command cannot be decided yet. Otherwise it has two parts: True if Temporal shows the
# effect of the command, and a sentence for the ledger.
Decision = tuple[bool, str] | None


def commands_reconcile(*, stop_at: float) -> Counter[str]:
    """Decide commands. Return the number of decided commands by outcome.

    The order is random. So commands that cannot be decided yet do not delay other commands.

    Errors: TemporalUnreachable, TemporalTimeout.
    """
    counts: Counter[str] = Counter()
    for command in open_commands().order_by("?")[:BATCH]:
        if time.monotonic() > stop_at:
            break
        try:
            decision = DECIDERS[CommandAction(command.action)](command)
        except (gateway.TemporalRefused, gateway.TemporalBusy) as error:  # affects only this command
            logger.warning("command %s cannot be decided: %s", command.id, error)
            continue
        except (ValueError, KeyError):  # a malformed row must not stop the other commands
            logger.exception("command %s cannot be decided", command.id)
            continue
        if decision is None:
            continue
        is_observed, message = decision
        state = CommandState.OBSERVED if is_observed else CommandState.FAILED
        if command_resolve_unknown(command, state, message=message):
            logger.warning("command %s (%s) is %s: %s", command.id, command.action, state, message)
            counts[f"commands {state}"] += 1
    return counts


def open_commands() -> QuerySet[Command]:
    now = timezone.now()
    unknown = Q(state=CommandState.UNKNOWN, decided_at__lt=now - DECIDE_AFTER)
    abandoned = Q(state=CommandState.REQUESTED, requested_at__lt=now - ABANDONED_AFTER)
    is_over = Q(run__isnull=False) & ~Q(run__status__in=OPEN_RUN_STATUSES)
    unrecorded = Q(state=CommandState.ACCEPTED, decided_at__lt=now - ABANDONED_AFTER, action__in=RECORDED_BY_THE_RUN)
    return Command.objects.select_related("run").filter(
        unknown | abandoned | (unrecorded & is_over),
        action__in=list(DECIDERS),
        requested_at__gt=now - LOOK_BACK,
    )


def _cancel(command: Command) -> Decision:
    run = command.run
    if run is None or run.status not in OPEN_RUN_STATUSES:
        return _of_a_closed_run(run, RunStatus.CANCELED)
    execution = _described(run)
    if execution is None:
        run_reconcile_unknown(run)
        return False, "Temporal does not know the run"
    if execution.status in RUN_STATUS_OF_TEMPORAL:
        return None  # the record of the run's end will decide the command
    if execution.cancel_requested:
        return True, "Temporal has the request to cancel the run"
    return False, "Temporal has no request to cancel the run; send the request again"


def _terminate(command: Command) -> Decision:
    run = command.run
    if run is None or run.status not in OPEN_RUN_STATUSES:
        return _of_a_closed_run(run, RunStatus.TERMINATED)
    execution = _described(run)
    if execution is None:
        run_reconcile_unknown(run)
        return False, "Temporal does not know the run"
    if execution.status in RUN_STATUS_OF_TEMPORAL:
        return None
    return False, "the workflow is still running in Temporal; send the request again"


def _of_a_closed_run(run: Run | None, wanted: str) -> Decision:
    if run is None:
        return False, "the run was deleted"
    return run.status == wanted, f"the run ended as {run.status}"


def _start(command: Command) -> Decision:
    return _started(uuid.UUID(command.target_id))


def _replay(command: Command) -> Decision:
    return _started(run_id_of_replay(command.id))


def _started(run_id: uuid.UUID) -> Decision:
    run = Run.objects.filter(id=run_id).first()
    if run is not None and (run.projection_epoch or (run.status in OPEN_RUN_STATUSES and run.temporal_first_run_id)):
        return True, "the run was started"
    if run is not None and run.status in OPEN_RUN_STATUSES:
        return None  # the sweep repeats the start until Temporal has the run
    if run is not None:
        return False, run.error["message"] if run.error else f"the run is {run.status}"
    is_there = _described(Run(id=run_id, temporal_workflow_id=workflow_id_of(run_id))) is not None
    return (True, "Temporal has the run") if is_there else (False, "Temporal does not have the run; start it again")


def _complete_task(command: Command) -> Decision:
    run = command.run
    if run is None:
        return False, "the run was deleted"
    delivery = completion_delivery(command)
    if delivery is not None:
        return _completed_by_event(delivery)
    try:
        history = read_run_history(workflow_id=run.temporal_workflow_id)
        if str(command.id) in history.updates:
            return True, "the run has the response"
        if history.close is None and update_is_known(workflow_id=run.temporal_workflow_id, update_id=str(command.id)):
            return None  # a worker will accept or reject the update
    except gateway.TemporalNotFound:
        if run.status in OPEN_RUN_STATUSES:
            run_reconcile_unknown(run)
        return False, "Temporal does not know the run"
    except HistoryUnreadable as error:
        logger.warning("command %s cannot be decided: %s", command.id, error)
        return None
    return (False, "the run did not receive the response; complete the task again") if history.is_whole else None


def _completed_by_event(delivery: EventDelivery) -> Decision:
    if delivery.status in IN_PROGRESS:
        return None  # the dispatcher will send the event, or the workflow's verdict decides
    if delivery.status == DeliveryStatus.MATCHED:
        return True, "the run has the response"
    return False, delivery.reason or f"the delivery of the event is {delivery.status}"


def _not_carried_out(command: Command) -> Decision:
    return False, "the portal's process ended before it carried out the request; nothing was changed; request it again"


def _repair(command: Command) -> Decision:
    return False, "the portal's process ended before the repair was done; the reconciler repairs the rows by itself"


def _test_connector(command: Command) -> Decision:
    return False, "the portal's process ended before it had a response; check the other system before a further test"


def _described(run: Run) -> gateway.Execution | None:
    try:
        return gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return None


# These commands write their change and their outcome in one commit. Without an outcome, they have changed nothing.
ONE_COMMIT = (
    CommandAction.ACCEPT_INVITATION,
    CommandAction.ARCHIVE,
    CommandAction.ASSIGN_TASK,
    CommandAction.BACKFILL_SCHEDULE,
    CommandAction.BULK,
    CommandAction.CLAIM_TASK,
    CommandAction.COMPARE,
    CommandAction.CREATE_DEFINITION,
    CommandAction.CREATE_TENANT,
    CommandAction.CREATE_TOKEN,
    CommandAction.DELETE_DEFINITION,
    CommandAction.DELETE_SECRET,
    CommandAction.DISCARD,
    CommandAction.EDIT_CALENDAR,
    CommandAction.EDIT_CONNECTOR,
    CommandAction.EDIT_DEFINITION,
    CommandAction.EDIT_EVENT_TYPE,
    CommandAction.EDIT_INCIDENT,
    CommandAction.EDIT_REDACTION,
    CommandAction.EDIT_RETENTION,
    CommandAction.EDIT_SCHEDULE,
    CommandAction.EDIT_SCHEMA,
    CommandAction.EDIT_TENANT,
    CommandAction.EDIT_VIEW,
    CommandAction.END_MAINTENANCE,
    CommandAction.EXPORT_LEDGER,
    CommandAction.HOLD_RUN,
    CommandAction.IMPORT,
    CommandAction.INVITE_MEMBER,
    CommandAction.PAUSE,
    CommandAction.PAUSE_SCHEDULE,
    CommandAction.PUBLISH,
    CommandAction.PRUNE,
    CommandAction.REDELIVER,
    CommandAction.RELEASE_RUN,
    CommandAction.RELEASE_TASK,
    CommandAction.REMOVE_MEMBER,
    CommandAction.RESEND_INVITATION,
    CommandAction.RESUME_SCHEDULE,
    CommandAction.REVOKE_INVITATION,
    CommandAction.REVOKE_TOKEN,
    CommandAction.ROLL_BACK,
    CommandAction.ROTATE_SECRETS,
    CommandAction.ROTATE_TOKEN,
    CommandAction.SAVE_MEMBER,
    CommandAction.SAVE_IDENTITY_PROVIDER,
    CommandAction.DELETE_IDENTITY_PROVIDER,
    CommandAction.SAVE_SECRET,
    CommandAction.START_MAINTENANCE,
    CommandAction.TRIGGER_SCHEDULE,
    CommandAction.UNARCHIVE,
    CommandAction.UNPAUSE,
)
# The portal refuses these commands in every case.
ALWAYS_REFUSED = (CommandAction.REQUEUE_EVENT_WAIT, CommandAction.RESUME, CommandAction.RETRY)

DECIDERS: dict[CommandAction, Callable[[Command], Decision]] = {
    CommandAction.CANCEL: _cancel,
    CommandAction.TERMINATE: _terminate,
    CommandAction.START_RUN: _start,
    CommandAction.REPLAY: _replay,
    CommandAction.COMPLETE_TASK: _complete_task,
    CommandAction.REPAIR: _repair,
    CommandAction.TEST_CONNECTOR: _test_connector,
    **dict.fromkeys([*ALWAYS_REFUSED, *ONE_COMMIT], _not_carried_out),
}
