"""One item: its request made through the service of the action, and what came of it.

The ledger decides. An item that a killed worker has left is looked up there by its key first: what was decided stands, what
was not is taken up as the same request, or, where a repeat would not tell the outcome, stays unknown.
"""

import logging
import uuid
from dataclasses import dataclass

from django.db import InterfaceError, OperationalError

from workflows.database_errors import is_of_the_data
from workflows.errors import PortalError
from workflows.ledger import command_finish
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.bulk.actions import item_ask, item_key
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandState
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

# Refusals that say something about Temporal, not about the run: asking again may have another answer.
PASSING_CODES = ("TEMPORAL_UNAVAILABLE", "WORKFLOW_TEMPORAL_CANCEL_FAILED", "WORKFLOW_TEMPORAL_TERMINATE_FAILED")
LOST = "the worker that asked was killed before it had an answer"


@dataclass(frozen=True)
class Outcome:
    """`state` pending: not decided, to be asked again under a new key. `is_outage`: Temporal does not answer; the next ones
    would fare no better."""

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
    """Errors: those of a database that does not answer; the item is then tried again when its lease is over."""
    try:
        earlier = _earlier(job, item) if item.claimed_until is not None else None
        if earlier is not None and earlier.state != CommandState.REQUESTED:
            return _of_an_earlier(earlier)
        is_repeatable = job.action != CommandAction.TERMINATE  # a second one only says that the run has ended
        if job.state == BulkState.RUNNING and (earlier is None or is_repeatable):
            return _of(item_ask(job, item))
        if earlier is None:
            return Outcome(BulkItemState.STOPPED)
        command_finish(earlier, CommandState.UNKNOWN, code="BULK_WORKER_LOST", message=LOST)
        return _of(earlier)
    except PortalError as error:
        return _refused(error)
    except (OperationalError, InterfaceError) as error:
        if not is_of_the_data(error):
            raise
        return _fault(job, item, error)
    except Exception as error:
        logger.exception("item %s of job %s failed", item.id, item.job_id)
        return _fault(job, item, error)


def _of(command: Command) -> Outcome:
    return Outcome(_STATE_OF[CommandState(command.state)], command.code, command.message, command.id)


def _of_an_earlier(command: Command) -> Outcome:
    if command.state == CommandState.REFUSED and command.code in PASSING_CODES:
        return Outcome(BulkItemState.PENDING, command.code, command.message, command.id)
    return _of(command)


def _refused(error: PortalError) -> Outcome:
    cause = error.__cause__ or error.__context__
    command_id = error.details.get("commandId")
    told = (error.code, error.message, uuid.UUID(command_id) if command_id else None)
    if error.details.get("outcome") == "unknown":
        return Outcome(BulkItemState.UNKNOWN, *told, is_outage=isinstance(cause, gateway.TemporalTimeout))
    if isinstance(cause, gateway.TemporalUnreachable | gateway.TemporalTimeout):
        # A run that goes on in a new execution is busy by itself; the next ones fare no worse for it.
        return Outcome(BulkItemState.PENDING, *told, is_outage=not isinstance(cause, gateway.TemporalBusy))
    return Outcome(BulkItemState.REFUSED, *told)


def _fault(job: BulkJob, item: BulkItem, error: Exception) -> Outcome:
    told = ("INTERNAL_ERROR", f"a fault of the portal, {type(error).__name__}; it is in the worker's log")
    command = _earlier(job, item)
    if command is not None:
        command_finish(command, CommandState.FAILED, code=told[0], message=told[1], http_status=500)
        if command.state != CommandState.FAILED:
            return _of(command)
    return Outcome(BulkItemState.FAILED, *told, command.id if command else None)


def _earlier(job: BulkJob, item: BulkItem) -> Command | None:
    return Command.objects.filter(
        tenant_id=job.tenant_id, actor_type=job.actor_type, actor_id=job.actor_id, idempotency_key=item_key(item)
    ).first()
