"""Links of invitations: the person who has the code joins the tenant.

Source: docs/reference/administration.md#invitations
"""

import hashlib
import uuid
from typing import Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, NotFound
from workflows.ledger import command_open, commands_finish_in_transaction
from workflows.models import Invitation, Tenant, TenantMembership
from workflows.services.accounts import account_save
from workflows.statuses import CommandAction, CommandSource, CommandState, Role
from workflows.tenancy import Scope, scope_of, tenant_scope

# Otherwise an invited person could find out by trial which names have an account.
MOST_TRIED_NAMES = 10


def code_hash_of(code: str) -> str:
    """Return the hash of a code. A fast hash is enough, because a code has 256 random bits."""
    return hashlib.sha256(code.encode()).hexdigest()


def invitation_of_code_hash(code_hash: str) -> Invitation:
    """Return the invitation with its tenant. The caller needs no membership.

    Errors: NotFound INVITATION_UNKNOWN; Conflict INVITATION_USED, INVITATION_REVOKED, INVITATION_EXPIRED,
    INVITATION_ATTEMPTS or TENANT_CLOSED.
    """
    with scope_of(Scope(token_hash=code_hash)):
        row = Invitation.objects.filter(code_hash=code_hash).first()
    if row is None:
        raise _unknown()
    with tenant_scope(row.tenant_id):
        row.tenant = Tenant.objects.get(id=row.tenant_id)
        _require_usable(row)
    return row


def account_exists(email: str) -> bool:
    """Return True if an active account has this e-mail address. This account accepts the invitation."""
    return bool(get_user_model().objects.filter(email__iexact=email, is_active=True).exists())


def invitation_accept(*, code_hash: str, account: Any) -> TenantMembership:
    """Make an account a member with the role of the invitation. The invitation is then used.

    `account` is the signed-in account, or a new account that is not saved yet. A new account gets the address of the
    invitation. It is committed on the connection of sign-in while the invitation is locked, so a link makes at most one
    account. Each name that is tried is counted, and the link ends after `MOST_TRIED_NAMES`.

    Errors: the errors of `invitation_of_code_hash`; Conflict INVITATION_OTHER_ACCOUNT, ALREADY_MEMBER or
    ACCOUNT_NAME_TAKEN.
    """
    tenant_id = invitation_of_code_hash(code_hash).tenant_id
    if account.pk is None:
        _count_name(tenant_id, code_hash)
    with tenant_scope(tenant_id), transaction.atomic():
        rows = Invitation.objects.select_for_update(of=("self",)).select_related("tenant")
        invitation = rows.filter(tenant_id=tenant_id, code_hash=code_hash).first()
        if invitation is None:  # a resend has replaced the link at this moment
            raise _unknown()
        _require_usable(invitation)
        if account.pk is None:
            account.email = invitation.email
            account_save(account)
        require_own_account(invitation, account)
        member, is_new = TenantMembership.objects.get_or_create(
            tenant_id=tenant_id, user=account, defaults={"role": invitation.role}
        )
        if not is_new:
            raise Conflict(
                f"you are a member of {invitation.tenant.name} already, with the role {member.role}. An administrator"
                " can change the role",
                code="ALREADY_MEMBER",
            )
        name = account.get_username()
        invitation.accepted_at, invitation.accepted_by_name = timezone.now(), name
        invitation.save(update_fields=["accepted_at", "accepted_by_name"])
        role = Role(invitation.role)
        command = command_open(
            actor=Actor("user", str(account.pk), name, tenant_id, role, CommandSource.ADMIN),
            action=CommandAction.ACCEPT_INVITATION,
            target_type="invitation",
            target_id=str(invitation.id),
            payload={"email": invitation.email, "role": invitation.role},
        )
        commands_finish_in_transaction([command], CommandState.OBSERVED)
    return member


def _count_name(tenant_id: uuid.UUID, code_hash: str) -> None:
    """Count one more name in a transaction of its own, or end the link if too many names were tried."""
    with tenant_scope(tenant_id):
        rows = Invitation.objects.filter(tenant_id=tenant_id, code_hash=code_hash)
        if not rows.filter(tried_names__lt=MOST_TRIED_NAMES).update(tried_names=F("tried_names") + 1):
            rows.filter(expires_at__gt=timezone.now()).update(expires_at=timezone.now())


def require_own_account(invitation: Invitation, account: Any) -> None:
    """Refuse an account with another e-mail address. Errors: Conflict INVITATION_OTHER_ACCOUNT."""
    if account.email.lower() != invitation.email:
        raise Conflict(
            f"this invitation is for {invitation.email}, and you are signed in as {account.get_username()}. Log out,"
            " then open the link of the e-mail again",
            code="INVITATION_OTHER_ACCOUNT",
        )


def _unknown() -> NotFound:
    return NotFound(
        "there is no invitation with this link. A later e-mail replaces the link of an earlier one. Use the latest"
        " e-mail, or ask the person who invited you for a new one",
        code="INVITATION_UNKNOWN",
    )


def _require_usable(invitation: Invitation) -> None:
    by = invitation.created_by_name
    if not invitation.tenant.is_active:
        raise Conflict(
            f"the tenant {invitation.tenant.name} is closed. A superuser of the portal can open it again",
            code="TENANT_CLOSED",
        )
    require_unanswered(invitation)
    _require_inviter(invitation)
    if invitation.expires_at <= timezone.now() and invitation.tried_names >= MOST_TRIED_NAMES:
        raise Conflict(
            f"{MOST_TRIED_NAMES} user names were tried with this link, so it has ended. Ask {by} to send it again",
            code="INVITATION_ATTEMPTS",
        )
    if invitation.expires_at <= timezone.now():
        raise Conflict(
            f"the invitation expired at {invitation.expires_at:%Y-%m-%d %H:%M} UTC. Ask {by} to send it again",
            code="INVITATION_EXPIRED",
        )


def _require_inviter(invitation: Invitation) -> None:
    """Check that the person who sent the e-mail is still an administrator or a superuser. A command has no person.

    Errors: Conflict INVITATION_REVOKED.
    """
    if invitation.created_by_id is None:
        return
    account = get_user_model().objects.filter(pk=invitation.created_by_id, is_active=True).first()
    admins = TenantMembership.objects.filter(tenant_id=invitation.tenant_id, role=Role.ADMIN)
    if account is None or not (account.is_superuser or admins.filter(user_id=account.pk).exists()):
        raise Conflict(
            f"{invitation.created_by_name}, who sent the invitation, may no longer invite. Ask an administrator of"
            f" {invitation.tenant.name} to send it again",
            code="INVITATION_REVOKED",
        )


def require_unanswered(invitation: Invitation) -> None:
    """Errors: Conflict INVITATION_USED or INVITATION_REVOKED."""
    if invitation.accepted_at is not None:
        raise Conflict(
            f"the invitation was used at {invitation.accepted_at:%Y-%m-%d %H:%M} UTC by {invitation.accepted_by_name}."
            " Sign in with this account",
            code="INVITATION_USED",
        )
    if invitation.revoked_at is not None:
        raise Conflict(
            f"an administrator revoked the invitation at {invitation.revoked_at:%Y-%m-%d %H:%M} UTC. Ask"
            f" {invitation.created_by_name} for a new one",
            code="INVITATION_REVOKED",
        )
