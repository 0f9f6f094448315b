"""Check of the role. It comes before all other checks of a request (docs/reference/authority.md#control-matrix)."""

import uuid

from django.contrib.auth import get_user_model

from workflows.actors import Actor
from workflows.errors import PermissionRefused
from workflows.ledger import command_open, command_refuse
from workflows.models import Run, TenantMembership
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


def membership_lock(*, tenant_id: uuid.UUID, account_id: int | None) -> None:
    """Lock the membership of an account that gets a token or sends an invitation. It must have the role admin.

    The end of the membership or of the role then waits, and also ends what this transaction creates. Call this function
    before other rows are locked, in the order of `member_remove`. A superuser needs no membership. `account_id` None:
    the request is from no person.

    Errors: PermissionRefused TENANT_LEFT if the account has lost the role during this request.
    """
    if account_id is None:
        return
    members = TenantMembership.objects.select_for_update(no_key=True, of=("self",))
    member = members.filter(tenant_id=tenant_id, user_id=account_id).first()
    if member is not None and member.role == Role.ADMIN:
        return
    if not get_user_model().objects.filter(pk=account_id, is_superuser=True).exists():
        raise PermissionRefused(
            "the membership in this tenant or its role admin has ended, so nothing was created; ask an administrator of"
            " the tenant",
            code="TENANT_LEFT",
        )
