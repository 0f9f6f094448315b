"""Members of a tenant (docs/reference/administration.md#members). Each change has a row in the command ledger.

A member is a user account with a role in the tenant. An account can be a member of several tenants. Only superusers
create tenants and deactivate accounts.
"""

import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, NotFound, PermissionRefused
from workflows.ledger import command_open, command_refuse
from workflows.models import ApiToken, TenantMembership
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.invitations import invitations_revoke_by, invitations_revoke_of
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role


def require_member_role(*, actor: Actor, action: CommandAction, username: str = "") -> None:
    """Check the role and, for an actor who may not add accounts, that the tenant has the member.

    Errors: PermissionRefused, which is recorded in the ledger; NotFound.
    """
    require_role(actor=actor, needs=Role.ADMIN, to="manage members", action=action, target_type="member")
    members = TenantMembership.objects.filter(tenant_id=actor.tenant_id, user__username=username)
    if username and not _may_add(actor) and not members.exists():
        raise _not_invited(username)


def require_may_add(*, actor: Actor, is_attempt: bool) -> None:
    """Check that the actor may add accounts by name. A refused attempt is recorded in the ledger.

    Errors: PermissionRefused. An administrator invites the person instead.
    """
    if _may_add(actor):
        return
    refusal = PermissionRefused(
        "only superusers of the portal add accounts by name. Invite the person by e-mail",
        details={"needed": "superuser"},
    )
    if is_attempt:
        command = command_open(actor=actor, action=CommandAction.SAVE_MEMBER, target_type="member", target_id="")
        raise command_refuse(command, refusal)
    raise refusal


def _may_add(actor: Actor) -> bool:
    """Return True for superusers, commands, and the sign-in through an identity provider."""
    return actor.is_superuser or actor.kind == "system"


def member_save(
    *, actor: Actor, username: str, role: Role, may_see_payloads: bool | None = None, idempotency_key: str = ""
) -> tuple[TenantMembership, bool]:
    """Change the role of a member, or make an existing account a member. Return the membership, and True if it is new.

    If `may_see_payloads` is None, it does not change. A lower role also revokes the open invitations of the person, if
    the person can no longer invite.

    Only superusers, commands and the sign-in through an identity provider add an account by its name. An administrator
    would otherwise see the e-mail address and the sign-ins of a person who has not agreed.

    Errors: PermissionRefused; NotFound for a name that is no member, if the actor may not add accounts; InputInvalid
    for an unknown account; Conflict if the tenant would have no administrator.
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
        before = _member_of_name(_locked(actor.tenant_id), username)
        user = before.user if before is not None else _account_to_add(actor, username)
        is_demoted = before is not None and before.role == Role.ADMIN and role != Role.ADMIN
        if is_demoted:
            _require_other_admin(actor.tenant_id, user.pk)
        fields: dict[str, Any] = {"role": role}
        if may_see_payloads is not None:
            fields["may_see_payloads"] = may_see_payloads
        member, is_new = TenantMembership.objects.update_or_create(
            tenant_id=actor.tenant_id, user=user, defaults=fields
        )
        command.details = {"created": is_new, "before": before and before.role}
        if is_demoted:
            command.details["revokedInvitations"] = invitations_revoke_by(actor=actor, account_id=user.pk)
    return member, is_new


def _account_to_add(actor: Actor, username: str) -> Any:
    """Return an account that is no member yet. Another caller gets the same refusal for each name."""
    if not _may_add(actor):
        raise _not_invited(username)
    user = get_user_model().objects.filter(username=username, is_active=True).first()
    if user is None:
        raise InputInvalid(
            f"there is no active account {username}. Correct the name, or invite the person by e-mail",
            code="ACCOUNT_UNKNOWN",
        )
    return user


def member_remove(*, actor: Actor, username: str, reason: str = "", idempotency_key: str = "") -> None:
    """End a membership. Revoke the tokens of this tenant that the person created, and the open invitations.

    These are the invitation of the person, and those that the person sent. Each one has its own row in the ledger.

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
        member = _member_of_name(_locked(actor.tenant_id), username)
        if member is None:
            raise NotFound(f"the tenant has no member {username}", code="MEMBER_NOT_FOUND")
        if member.role == Role.ADMIN:
            _require_other_admin(actor.tenant_id, member.user_id)
        tokens = ApiToken.objects.filter(
            tenant_id=actor.tenant_id, created_by_id=member.user_id, revoked_at__isnull=True
        ).update(revoked_at=timezone.now())
        invitations = invitations_revoke_of(actor=actor, email=member.user.email)
        invitations += invitations_revoke_by(actor=actor, account_id=member.user_id)
        member.delete()
        command.details = {"before": member.role, "revokedTokens": tokens, "revokedInvitations": invitations}


def _not_invited(username: str) -> NotFound:
    return NotFound(
        f"the tenant has no member {username}. Invite the person by e-mail. Only superusers add accounts by name",
        code="MEMBER_NOT_FOUND",
    )


def _locked(tenant_id: uuid.UUID) -> list[TenantMembership]:
    """Return the members of a tenant, locked. So two requests cannot remove the last two administrators."""
    rows = TenantMembership.objects.select_for_update(of=("self",)).select_related("user").filter(tenant_id=tenant_id)
    return list(rows.order_by("id"))


def _member_of_name(members: list[TenantMembership], username: str) -> TenantMembership | None:
    return next((row for row in members if row.user.get_username() == username), None)


def _require_other_admin(tenant_id: uuid.UUID, user_id: int) -> None:
    others = TenantMembership.objects.filter(tenant_id=tenant_id, role=Role.ADMIN, user__is_active=True)
    if not others.exclude(user_id=user_id).exists():
        raise Conflict(
            "the tenant would have no administrator. Give another member the role admin first", code="LAST_ADMIN"
        )
