"""The role before everything else that can be wrong with a request (docs/reference/authority.md#control-matrix)."""

from workflows.actors import Actor
from workflows.errors import PermissionRefused
from workflows.ledger import command_open, command_refuse
from workflows.models import Run
from workflows.statuses import CommandAction, Role


def require_role(
    *,
    actor: Actor,
    needs: Role,
    to: str,
    action: CommandAction,
    target_type: str,
    target_id: str = "",
    run: Run | None = None,
) -> None:
    """For a request that is about to be refused for what it says: whoever may not ask at all is told that instead.

    Errors: PermissionRefused; the denied attempt is a row of the ledger.
    """
    if actor.has_role(needs):
        return
    command = command_open(actor=actor, action=action, target_type=target_type, target_id=target_id, run=run)
    try:
        actor.require(needs, to=to)
    except PermissionRefused as error:
        raise command_refuse(command, error) from error
