"""Outcome of one bulk item. This module sends the item's request through the action's service and reads the result.

If a worker was killed, its item may already have a command in the ledger. The command is found by the item's
idempotency key:
- If the command has an outcome, this is the outcome of the item.
- If the command has no outcome, the same request is sent again.
- A request to terminate is not sent again, because a repeat would only show that the run has ended. The outcome of the
  item stays unknown.
"""

import logging
import uuid
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError

from workflows.database_errors import is_data_error
from workflows.errors import PortalError
from workflows.ledger import INTERNAL_ERROR, command_finish
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.bulk.actions import item_key, item_request
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

# These refusals have their reason in Temporal, and not in the run. A later request may succeed.
PASSING_CODES = ("TEMPORAL_UNAVAILABLE", "WORKFLOW_TEMPORAL_CANCEL_FAILED", "WORKFLOW_TEMPORAL_TERMINATE_FAILED")
WORKER_LOST = "the worker was killed before Temporal responded; look at the run"


@dataclass(frozen=True)
class Outcome:
    """Outcome of one item. If the item is pending, its request is sent again with a new idempotency key.

    `is_outage`: Temporal did not respond, so the next requests of the slice would fail too.
    """

    state: BulkItemState
    code: str = ""
    message: str = ""
    command_id: uuid.UUID | None = None
    is_outage: bool = False


_STATE_OF = {
    CommandState.ACCEPTED: BulkItemState.ACCEPTED,
    CommandState.OBSERVED: BulkItemState.ACCEPTED,
    CommandState.REFUSED: BulkItemState.REFUSED,
    CommandState.FAILED: BulkItemState.FAILED,
    CommandState.UNKNOWN: BulkItemState.UNKNOWN,
}


def item_outcome(job: BulkJob, item: BulkItem) -> Outcome:
    """Return the outcome of an item. Send its request, or find the result of an earlier worker in the ledger.

    Errors: the errors of an unreachable database. Another worker tries the item again when its lease ends.
    """
    try:
        earlier = _earlier(job, item) if item.claimed_until is not None else None
        if earlier is not None and earlier.state != CommandState.REQUESTED:
            return _of_earlier(earlier)
        is_repeatable = job.action != CommandAction.TERMINATE
        if job.state == BulkState.RUNNING and (earlier is None or is_repeatable):
            return _of(item_request(job, item))
        if earlier is None:
            return Outcome(BulkItemState.STOPPED)
        command_finish(earlier, CommandState.UNKNOWN, code="BULK_WORKER_LOST", message=WORKER_LOST)
        return _of(earlier)
    except PortalError as error:
        return _of_error(error)
    except (OperationalError, InterfaceError) as error:
        if not is_data_error(error):
            raise
        return _of_bug(job, item, error)
    except Exception as error:
        logger.exception("item %s of bulk job %s failed", item.id, item.job_id)
        return _of_bug(job, item, error)


def _of(command: Command) -> Outcome:
    return Outcome(_STATE_OF[CommandState(command.state)], command.code, command.message, command.id)


def _of_earlier(command: Command) -> Outcome:
    if command.state == CommandState.REFUSED and command.code in PASSING_CODES:
        return Outcome(BulkItemState.PENDING, command.code, command.message, command.id)
    return _of(command)


def _of_error(error: PortalError) -> Outcome:
    cause = error.__cause__ or error.__context__
    command_id = error.details.get("commandId")
    state, is_outage = BulkItemState.REFUSED, False
    if error.details.get("outcome") == "unknown":
        state, is_outage = BulkItemState.UNKNOWN, isinstance(cause, gateway.TemporalTimeout)
    elif isinstance(cause, gateway.TemporalUnreachable | gateway.TemporalTimeout):
        # TemporalBusy means that this run is about to continue in a new execution. Other runs are not affected.
        state, is_outage = BulkItemState.PENDING, not isinstance(cause, gateway.TemporalBusy)
    return Outcome(state, error.code, error.message, uuid.UUID(command_id) if command_id else None, is_outage)


def _of_bug(job: BulkJob, item: BulkItem, error: Exception) -> Outcome:
    message = f"the portal failed because of a bug ({type(error).__name__}); an operator must read the worker's log"
    command = _earlier(job, item)
    if command is not None:
        command_finish(command, CommandState.FAILED, code=INTERNAL_ERROR, message=message, http_status=500)
        if command.state != CommandState.FAILED:
            return _of(command)
    return Outcome(BulkItemState.FAILED, INTERNAL_ERROR, message, command.id if command else None)


def _earlier(job: BulkJob, item: BulkItem) -> Command | None:
    return Command.objects.filter(
        tenant_id=job.tenant_id, actor_type=job.actor_type, actor_id=job.actor_id, idempotency_key=item_key(item)
    ).first()
