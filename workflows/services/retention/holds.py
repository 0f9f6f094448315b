"""Legal holds on runs (docs/reference/retention.md#legal-hold). Administrators set and release them."""

import uuid

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid
from workflows.models import Run, RunHold
from workflows.selectors.pruned_runs import run_not_found
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.services.runs.requests import run_find
from workflows.statuses import CommandAction, Role

PURPOSE = "set and release legal holds"


def require_hold_role(*, actor: Actor, run_id: uuid.UUID, action: CommandAction) -> Run:
    """Return the run. Call this function before errors in the request are reported.

    Errors: NotFound; PermissionRefused, which is recorded in the ledger.
    """
    run = run_find(actor=actor, run_id=run_id)
    require_role(
        actor=actor, needs=Role.ADMIN, to=PURPOSE, action=action, target_type="run", target_id=str(run.id), run=run
    )
    return run


def run_hold(*, actor: Actor, run_id: uuid.UUID, reason: str, idempotency_key: str = "") -> RunHold:
    """Set a legal hold. Retention then deletes neither the run nor its family.

    Errors: NotFound, PermissionRefused; InputInvalid without a reason; Conflict if the run has a hold; CommandRepeated.
    """
    run = require_hold_role(actor=actor, run_id=run_id, action=CommandAction.HOLD_RUN)
    _require_reason(reason, run, "a legal hold")
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.HOLD_RUN,
        target_type="run",
        target_id=str(run.id),
        run=run,
        reason=reason,
        idempotency_key=idempotency_key,
    ):
        _lock(run)
        if RunHold.objects.filter(tenant_id=run.tenant_id, run=run).exists():
            raise Conflict(
                "the run has a legal hold already; release it first to give another reason",
                code="RUN_HELD",
                details={"runId": str(run.id)},
            )
        return RunHold.objects.create(tenant_id=run.tenant_id, run=run, reason=reason.strip(), held_by_name=actor.name)


def run_release(*, actor: Actor, run_id: uuid.UUID, reason: str, idempotency_key: str = "") -> None:
    """Release a legal hold. From then on, retention deletes the run when it is old enough.

    Errors: NotFound, PermissionRefused; InputInvalid without a reason; Conflict if the run has no hold;
    CommandRepeated.
    """
    run = require_hold_role(actor=actor, run_id=run_id, action=CommandAction.RELEASE_RUN)
    _require_reason(reason, run, "the release of a legal hold")
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.RELEASE_RUN,
        target_type="run",
        target_id=str(run.id),
        run=run,
        reason=reason,
        idempotency_key=idempotency_key,
    ) as command:
        _lock(run)
        hold = RunHold.objects.filter(tenant_id=run.tenant_id, run=run).first()
        if hold is None:
            raise Conflict(
                "the run has no legal hold; nothing was changed", code="RUN_NOT_HELD", details={"runId": str(run.id)}
            )
        command.details = {"heldBy": hold.held_by_name, "heldAt": hold.held_at.isoformat(), "heldFor": hold.reason}
        hold.delete()


def _require_reason(reason: str, run: Run, what: str) -> None:
    if not reason.strip():
        raise InputInvalid(
            f"{what} needs a reason, which is kept in the command ledger",
            code="REASON_REQUIRED",
            details={"runId": str(run.id)},
        )


def _lock(run: Run) -> None:
    """Lock the run, so that holds of one run take turns and retention cannot delete it at the same time.

    Errors: NotFound if retention has deleted the run since it was found.
    """
    if not Run.objects.select_for_update(no_key=True).filter(tenant_id=run.tenant_id, id=run.id).exists():
        raise run_not_found(tenant_id=run.tenant_id, run_id=run.id)
