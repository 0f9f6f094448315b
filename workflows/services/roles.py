"""Check of the role. It comes before all other checks of a request (docs/reference/authority.md#control-matrix)."""

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
    """Refuse an actor without this role, and record the attempt in the ledger.

    Call this function before errors in the request are reported. A caller without the role must not see the errors in
    the body.

    Errors: PermissionRefused. An administrator of the tenant can give the role to the actor.
    """
    if actor.has_role(needs):
        return
    command = command_open(actor=actor, action=action, target_type=target_type, target_id=target_id, run=run)
    try:
        actor.require(needs, to=to)
    except PermissionRefused as error:
        raise command_refuse(command, error) from error
