"""Rules of a tenant for sign-in. Its administrators change them (docs/reference/sign-in.md#second-factors)."""

from workflows.actors import Actor
from workflows.models import Tenant
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role


def require_rules_role(*, actor: Actor) -> None:
    """Errors: PermissionRefused, which is recorded in the ledger."""
    require_role(
        actor=actor,
        needs=Role.ADMIN,
        to="change the rules of sign-in",
        action=CommandAction.EDIT_TENANT,
        target_type="sign_in_rules",
    )


def second_factor_is_required(*, actor: Actor) -> bool:
    """Errors: PermissionRefused."""
    actor.require(Role.ADMIN, to="see the rules of sign-in")
    return Tenant.objects.values_list("requires_second_factor", flat=True).get(id=actor.tenant_id)


def second_factor_require(*, actor: Actor, is_required: bool, reason: str = "", idempotency_key: str = "") -> None:
    """Require a second factor of all members of the tenant, or no longer. It applies to the next request of each one.

    Errors: PermissionRefused; CommandRepeated.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_TENANT,
        target_type="sign_in_rules",
        target_id="",
        reason=reason,
        payload={"secondFactorRequired": is_required},
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.ADMIN, to="change the rules of sign-in")
        Tenant.objects.filter(id=actor.tenant_id).update(requires_second_factor=is_required)
