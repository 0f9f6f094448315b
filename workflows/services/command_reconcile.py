"""Requests whose outcome nobody knows, decided from what Temporal says (docs/reference/authority.md#control-matrix, docs/reference/authority.md#command-ledger): observed, or failed.

`unknown`: Temporal did not answer in time. `requested` for minutes: the process that asked has died. Both wait longer than
any call to Temporal takes before they are looked at, so that none is decided while it is still on its way. So do those that
Temporal had accepted when the run came to its end without a record of them. A request whose
change and outcome are one commit (`command_transaction`, `commands_finish_in_transaction`) has changed nothing while it is `requested`; one
that is still on its way is refused by that commit after it was given up here.
"""

import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.ledger import command_resolve_unknown, run_id_of_replay
from workflows.models import Command, Run
from workflows.services.runs.launch import workflow_id_of
from workflows.statuses import OPEN_RUN_STATUSES, RUN_STATUS_OF_TEMPORAL, CommandAction, CommandState, RunStatus
from workflows.temporal import gateway
from workflows.temporal.course import read_course
from workflows.temporal.history import HistoryUnreadable
from workflows.temporal.updates import update_is_known

logger = logging.getLogger(__name__)

DECIDE_AFTER = timedelta(seconds=60)
ABANDONED_AFTER = timedelta(minutes=5)
BATCH = 100
LOOK_BACK = timedelta(days=30)
RECORDED_BY_THE_RUN = (CommandAction.CANCEL, CommandAction.TERMINATE, CommandAction.COMPLETE_TASK)

# None: not to be decided yet. Else whether the effect is there, and a sentence.
Verdict = tuple[bool, str] | None


def commands_reconcile(*, stop_at: float) -> Counter[str]:
    """How many were decided, by outcome. In no order, so that those which cannot be decided yet hold up no others.

    Errors: TemporalUnreachable, TemporalTimeout.
    """
    counts: Counter[str] = Counter()
    for command in open_commands().order_by("?")[:BATCH]:
        if time.monotonic() > stop_at:
            break
        try:
            verdict = DECIDERS[CommandAction(command.action)](command)
        except (gateway.TemporalRefused, gateway.TemporalBusy) as error:  # of this one alone
            logger.warning("command %s cannot be decided: %s", command.id, error)
            continue
        except (ValueError, KeyError):  # a row that says nonsense is told, and leaves the others their turn
            logger.exception("command %s cannot be decided", command.id)
            continue
        if verdict is None:
            continue
        is_seen, words = verdict
        state = CommandState.OBSERVED if is_seen else CommandState.FAILED
        if command_resolve_unknown(command, state, message=words):
            logger.warning("command %s (%s) is %s: %s", command.id, command.action, state, words)
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


def _cancel(command: Command) -> Verdict:
    run = command.run
    if run is None or run.status not in OPEN_RUN_STATUSES:
        return _of_a_closed_run(run, RunStatus.CANCELED)
    execution = _described(run)
    if execution is None:
        return False, "Temporal does not know the run"
    if execution.status in RUN_STATUS_OF_TEMPORAL:
        return None  # the run's own end decides
    if execution.cancel_requested:
        return True, "Temporal has the request"
    return False, "Temporal has no request to cancel the run; ask again"


def _terminate(command: Command) -> Verdict:
    run = command.run
    if run is None or run.status not in OPEN_RUN_STATUSES:
        return _of_a_closed_run(run, RunStatus.TERMINATED)
    execution = _described(run)
    if execution is None:
        return False, "Temporal does not know the run"
    return (
        None if execution.status in RUN_STATUS_OF_TEMPORAL else (False, "the workflow goes on in Temporal; ask again")
    )


def _of_a_closed_run(run: Run | None, wanted: str) -> Verdict:
    if run is None:
        return False, "the run is not there any more"
    return run.status == wanted, f"the run ended as {run.status}"


def _start(command: Command) -> Verdict:
    return _started(uuid.UUID(command.target_id))


def _replay(command: Command) -> Verdict:
    return _started(run_id_of_replay(command.id))


def _started(run_id: uuid.UUID) -> Verdict:
    run = Run.objects.filter(id=run_id).first()
    if run is not None and (run.projection_epoch or (run.status in OPEN_RUN_STATUSES and run.temporal_first_run_id)):
        return True, "the run was started"
    if run is not None and run.status in OPEN_RUN_STATUSES:
        return None  # it is started again until Temporal has it
    if run is not None:
        return False, run.error["message"] if run.error else f"the run is {run.status}"
    is_there = _described(Run(id=run_id, temporal_workflow_id=workflow_id_of(run_id))) is not None
    return (True, "Temporal has the run") if is_there else (False, "Temporal does not have the run; start it again")


def _complete_task(command: Command) -> Verdict:
    run = command.run
    if run is None:
        return False, "the run is not there any more"
    try:
        course = read_course(workflow_id=run.temporal_workflow_id)
        if str(command.id) in course.updates:
            return True, "the run has the response"
        if course.close is None and update_is_known(workflow_id=run.temporal_workflow_id, update_id=str(command.id)):
            return None  # a worker takes it when there is one
    except gateway.TemporalNotFound:
        return False, "Temporal does not know the run"
    except HistoryUnreadable as error:
        logger.warning("command %s cannot be decided: %s", command.id, error)
        return None
    return (False, "the run never got the response; complete the task again") if course.is_whole else None


def _not_carried_out(command: Command) -> Verdict:
    return False, "the portal's process ended before it was carried out: nothing was changed; ask again"


def _repair(command: Command) -> Verdict:
    return False, "the portal's process ended before it was done; what differs, the reconciler repairs by itself"


def _described(run: Run) -> gateway.Execution | None:
    try:
        return gateway.describe_run(workflow_id=run.temporal_workflow_id)
    except gateway.TemporalNotFound:
        return None


DECIDERS: dict[CommandAction, Callable[[Command], Verdict]] = {
    CommandAction.CANCEL: _cancel,
    CommandAction.TERMINATE: _terminate,
    CommandAction.START_RUN: _start,
    CommandAction.REPLAY: _replay,
    CommandAction.COMPLETE_TASK: _complete_task,
    CommandAction.REPAIR: _repair,
    # Refused whatever they ask for.
    **dict.fromkeys([CommandAction.RESUME, CommandAction.RETRY, CommandAction.REQUEUE_EVENT_WAIT], _not_carried_out),
    # One commit with their change.
    **dict.fromkeys(
        [
            CommandAction.REDELIVER, CommandAction.DISCARD, CommandAction.CLAIM_TASK, CommandAction.RELEASE_TASK,
            CommandAction.ASSIGN_TASK, CommandAction.PUBLISH, CommandAction.IMPORT, CommandAction.PAUSE, CommandAction.UNPAUSE,
            CommandAction.EDIT_SCHEMA, CommandAction.SAVE_SECRET, CommandAction.DELETE_SECRET, CommandAction.ROTATE_SECRETS,
            CommandAction.EDIT_REDACTION, CommandAction.EDIT_EVENT_TYPE, CommandAction.BULK,
        ],
        _not_carried_out,
    ),
}  # fmt: skip
