"""Members of a tenant (docs/reference/administration.md#members). Each change has a row in the command ledger.

A member is a user account with a role in the tenant. An account can be a member of several tenants. Only superusers
create tenants and deactivate accounts.
"""

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.models import ApiToken, TenantMembership
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.invitations import invitations_revoke_of
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role


def require_member_role(*, actor: Actor, action: CommandAction) -> None:
    """Errors: PermissionRefused, which is recorded in the ledger."""
    require_role(actor=actor, needs=Role.ADMIN, to="manage members", action=action, target_type="member")


def member_save(
    *, actor: Actor, username: str, role: Role, may_see_payloads: bool | None = None, idempotency_key: str = ""
) -> tuple[TenantMembership, bool]:
    """Give an existing account a role in the tenant, or change its role. Return the membership, and True if it is new.

    If `may_see_payloads` is None, it does not change.

    Errors: PermissionRefused, InputInvalid for an unknown account, Conflict if the tenant would have no administrator.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.SAVE_MEMBER,
        target_type="member",
        target_id=username[:150],
        payload={"role": str(role), "maySeePayloads": may_see_payloads},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="manage members")
        user = get_user_model().objects.filter(username=username, is_active=True).first()
        if user is None:
            raise InputInvalid(
                f"there is no active account {username}. Correct the name, or invite the person by e-mail",
                code="ACCOUNT_UNKNOWN",
            )
        before = _locked(actor.tenant_id).get(user.pk)
        if before is not None and before.role == Role.ADMIN and role != Role.ADMIN:
            _require_other_admin(actor.tenant_id, user.pk)
        fields: dict[str, Any] = {"role": role}
        if may_see_payloads is not None:
            fields["may_see_payloads"] = may_see_payloads
        member, is_new = TenantMembership.objects.update_or_create(
            tenant_id=actor.tenant_id, user=user, defaults=fields
        )
        command.details = {"created": is_new, "before": before and before.role}
    return member, is_new


def member_remove(*, actor: Actor, username: str, reason: str = "", idempotency_key: str = "") -> None:
    """End a membership. Revoke the tokens of this tenant that the person created, and the person's open invitation.

    Each request reads the membership, so an open session of the person has no access to the tenant from now on.

    Errors: PermissionRefused, NotFound, Conflict if the tenant would have no administrator.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.REMOVE_MEMBER,
        target_type="member",
        target_id=username[:150],
        reason=reason,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="manage members")
        members = _locked(actor.tenant_id)
        member = next((row for row in members.values() if row.user.get_username() == username), None)
        if member is None:
            raise NotFound(f"the tenant has no member {username}", code="MEMBER_NOT_FOUND")
        if member.role == Role.ADMIN:
            _require_other_admin(actor.tenant_id, member.user_id)
        tokens = ApiToken.objects.filter(
            tenant_id=actor.tenant_id, created_by_id=member.user_id, revoked_at__isnull=True
        ).update(revoked_at=timezone.now())
        invitations = invitations_revoke_of(tenant_id=actor.tenant_id, email=member.user.email)
        member.delete()
        command.details = {"before": member.role, "revokedTokens": tokens, "revokedInvitations": invitations}


def _locked(tenant_id: uuid.UUID) -> dict[int, TenantMembership]:
    """Return the members of a tenant by account, locked. So two requests cannot remove the last two administrators."""
    rows = TenantMembership.objects.select_for_update(of=("self",)).select_related("user").filter(tenant_id=tenant_id)
    return {row.user_id: row for row in rows.order_by("id")}


def _require_other_admin(tenant_id: uuid.UUID, user_id: int) -> None:
    others = TenantMembership.objects.filter(tenant_id=tenant_id, role=Role.ADMIN, user__is_active=True)
    if not others.exclude(user_id=user_id).exists():
        raise Conflict(
            "the tenant would have no administrator. Give another member the role admin first", code="LAST_ADMIN"
        )
