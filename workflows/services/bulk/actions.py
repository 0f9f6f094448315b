"""Actions of bulk jobs. The request of an item uses the same service as the page of one run."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workflows.actors import Actor
from workflows.models import BulkItem, BulkJob, Command
from workflows.services.runs.control import run_cancel, run_terminate
from workflows.services.runs.replay import run_replay
from workflows.statuses import CommandAction, CommandSource, Role


@dataclass(frozen=True)
class BulkAction:
    """Action that a bulk job can request for each run.

    `is_for_open`: the action is for open runs. Closed runs are not eligible. Runs with an accepted request of the same
    action are not eligible either.
    """

    service: Callable[..., Command]
    needs: Role
    is_for_open: bool
    needs_reason: bool = False


def _replay(**request: object) -> Command:
    return run_replay(**request)[1]  # type: ignore[arg-type]


BULK_ACTIONS: dict[str, BulkAction] = {
    CommandAction.CANCEL: BulkAction(run_cancel, Role.OPERATOR, is_for_open=True),
    CommandAction.TERMINATE: BulkAction(run_terminate, Role.ADMIN, is_for_open=True, needs_reason=True),
    CommandAction.REPLAY: BulkAction(_replay, Role.OPERATOR, is_for_open=False),
}


def item_key(item: BulkItem) -> str:
    """Return the idempotency key of the item's current attempt.

    If a worker dies, this key prevents a second request.
    """
    return f"bulk:{item.job_id}:{item.id}:{item.attempts + 1}"


def item_request(job: BulkJob, item: BulkItem) -> Command:
    """Send the request for this item's run and return its command.

    Errors: the errors of the action's service.
    """
    options: dict[str, Any] = {}
    if job.action == CommandAction.REPLAY:
        options = {
            "on": job.replay_version,
            "allow_another_run": job.allows_another_run,
            "accept_repeats": job.accepts_repeats,
        }
    return BULK_ACTIONS[job.action].service(
        actor=requester_of(job),
        run_id=item.target_id,
        reason=job.reason,
        idempotency_key=item_key(item),
        part_of=job.command,
        **options,
    )


def requester_of(job: BulkJob) -> Actor:
    """Return the actor in whose name the requests of the items are sent."""
    return Actor(
        job.actor_type, job.actor_id, job.actor_name, job.tenant_id, Role(job.actor_role), CommandSource(job.source)
    )


def set_requester(job: BulkJob, actor: Actor, command: Command | None) -> None:
    """Set the actor and the parent command of the items' requests. The job is not saved here."""
    job.actor_type, job.actor_id, job.actor_name = actor.kind, actor.id, actor.name
    job.actor_role, job.source, job.command = actor.role, actor.source, command


def portal_actor(tenant_id: uuid.UUID) -> Actor:
    """Return the actor for decisions about a job that the portal itself makes."""
    return Actor("system", "bulk", "the portal", tenant_id, Role.ADMIN, CommandSource.SYSTEM)
