"""What a bulk job can ask of each of its runs: the request of one run's page, by the same service, under a key of its own."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from workflows.actors import Actor
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.runs.control import run_cancel, run_terminate
from workflows.services.runs.replay import run_replay
from workflows.statuses import CommandAction, CommandSource, Role


@dataclass(frozen=True)
class BulkAction:
    """`is_for_open`: a run that has ended is not eligible, nor one of which the same was asked before."""

    ask: Callable[..., Command]
    needs: Role
    is_for_open: bool
    needs_reason: bool = False


def _replay(**asked: object) -> Command:
    return run_replay(**asked)[1]  # type: ignore[arg-type]


BULK_ACTIONS: dict[str, BulkAction] = {
    CommandAction.CANCEL: BulkAction(run_cancel, Role.OPERATOR, is_for_open=True),
    CommandAction.TERMINATE: BulkAction(run_terminate, Role.ADMIN, is_for_open=True, needs_reason=True),
    CommandAction.REPLAY: BulkAction(_replay, Role.OPERATOR, is_for_open=False),
}


def item_key(item: BulkItem) -> str:
    """The idempotency key of the item's present try: whoever repeats it after a worker's death makes no second request."""
    return f"bulk:{item.job_id}:{item.id}:{item.attempts + 1}"


def item_ask(job: BulkJob, item: BulkItem) -> Command:
    """The ledger row of the request for this run. Errors: as the service of the action."""
    return BULK_ACTIONS[job.action].ask(
        actor=asker_of(job),
        run_id=item.target_id,
        reason=job.reason,
        idempotency_key=item_key(item),
        part_of=job.command,
    )


def asker_of(job: BulkJob) -> Actor:
    return Actor(
        job.actor_type, job.actor_id, job.actor_name, job.tenant_id, Role(job.actor_role), CommandSource(job.source)
    )


def set_asker(job: BulkJob, actor: Actor, command: Command | None) -> None:
    """In whose name the items are asked from now on, and the ledger row that they belong to."""
    job.actor_type, job.actor_id, job.actor_name = actor.kind, actor.id, actor.name
    job.actor_role, job.source, job.command = actor.role, actor.source, command


def portal_of(tenant_id: uuid.UUID) -> Actor:
    """The portal itself, where it decides something about a job."""
    return Actor("system", "bulk", "the portal", tenant_id, Role.ADMIN, CommandSource.SYSTEM)
