"""Invitations to a tenant by e-mail (docs/reference/administration.md#invitations).

The e-mail has a link with a code. The database stores only the hash of the code. The code is behind the `#` of the
link, so browsers do not send it with the request for the page, and no log of a server contains it.

Each change has a row in the command ledger.
"""

import secrets
import smtplib
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from workflows.actors import Actor
from workflows.errors import Conflict, DependencyDown, InputInvalid, NotFound, PortalError
from workflows.ledger import command_open, commands_finish_in_transaction, target_name
from workflows.models import ApiToken, Invitation, Tenant, TenantMembership
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.invitation_links import code_hash_of, require_unanswered
from workflows.services.roles import membership_lock, require_role
from workflows.statuses import CommandAction, CommandState, Role

TEXT = """{by} invites you to the tenant {tenant} of Pointsman with the role {role}.

Open this link to accept the invitation:

{link}

The link can be used once, until {until} UTC. If you did not expect this e-mail, ignore it.
"""


def require_invitation_role(*, actor: Actor, action: CommandAction, invitation_id: uuid.UUID | None = None) -> None:
    """Check the role, and that the tenant has the invitation.

    Errors: PermissionRefused, which is recorded in the ledger; NotFound.
    """
    require_role(actor=actor, needs=Role.ADMIN, to="manage invitations", action=action, target_type="invitation")
    of_tenant = Invitation.objects.filter(tenant_id=actor.tenant_id)
    if invitation_id is not None and not of_tenant.filter(id=invitation_id).exists():
        raise _not_found(invitation_id)


# -- Requests of administrators ----------------------------------------------------------------------------------------


@sensitive_variables("code")
def invitation_create(*, actor: Actor, email: str, role: Role, idempotency_key: str = "") -> Invitation:
    """Store an invitation and send its e-mail. If the e-mail cannot be sent, nothing is stored.

    Errors: PermissionRefused; InputInvalid for the address; Conflict INVITATION_OPEN, ALREADY_MEMBER; DependencyDown
    MAIL_NOT_SENT; CommandRepeated.
    """
    address = email.strip().lower()
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.INVITE_MEMBER,
        target_type="invitation",
        target_id=target_name(address),
        payload={"role": str(role)},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="invite members")
        account_id = _account_of(actor)
        _require_invitable(actor.tenant_id, address)
        code = secrets.token_urlsafe(32)
        try:
            with transaction.atomic():
                invitation = Invitation.objects.create(
                    tenant_id=actor.tenant_id,
                    email=address,
                    role=role,
                    code_hash=code_hash_of(code),
                    created_by_id=account_id,
                    created_by_name=actor.name,
                    expires_at=_new_expiry(),
                )
        except IntegrityError as error:  # another administrator invited the person at the same moment
            raise _is_open(address) from error
        command.details = {"invitationId": str(invitation.id), "expiresAt": invitation.expires_at.isoformat()}
        _send(invitation, code, by=actor.name)
    return invitation


@sensitive_variables("code")
def invitation_resend(*, actor: Actor, invitation_id: uuid.UUID, idempotency_key: str = "") -> Invitation:
    """Send the e-mail again with a new code and a new time of expiry. The link of the earlier e-mail ends.

    The invitation then belongs to the person who sent it last.

    Errors: PermissionRefused, NotFound; Conflict INVITATION_USED or INVITATION_REVOKED; DependencyDown MAIL_NOT_SENT.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.RESEND_INVITATION,
        target_type="invitation",
        target_id=str(invitation_id),
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="send invitations")
        account_id = _account_of(actor)
        invitation = _open_invitation(actor.tenant_id, invitation_id)
        code = secrets.token_urlsafe(32)
        invitation.code_hash, invitation.expires_at = code_hash_of(code), _new_expiry()
        invitation.sent_at, invitation.tried_names = timezone.now(), 0
        invitation.created_by_id, invitation.created_by_name = account_id, actor.name
        invitation.save(
            update_fields=["code_hash", "expires_at", "sent_at", "tried_names", "created_by", "created_by_name"]
        )
        command.details = {"email": invitation.email, "expiresAt": invitation.expires_at.isoformat()}
        _send(invitation, code, by=actor.name)
    return invitation


def invitation_revoke(
    *, actor: Actor, invitation_id: uuid.UUID, reason: str = "", idempotency_key: str = ""
) -> Invitation:
    """End an invitation. Its link shows that an administrator revoked it.

    Errors: PermissionRefused, NotFound; Conflict INVITATION_USED or INVITATION_REVOKED.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.REVOKE_INVITATION,
        target_type="invitation",
        target_id=str(invitation_id),
        reason=reason,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="revoke invitations")
        invitation = _open_invitation(actor.tenant_id, invitation_id)
        invitation.revoked_at = timezone.now()
        invitation.save(update_fields=["revoked_at"])
        command.details = {"email": invitation.email}
    return invitation


def invitations_revoke_of(*, actor: Actor, email: str) -> int:
    """Revoke the open invitation of an address, and return the number of revoked rows.

    Call it in the transaction that removes the member. Without this, the person could join again with an old link.
    """
    return _revoke_all(actor, _unanswered(actor.tenant_id).filter(email=email.lower())) if email else 0


def invitations_revoke_by(*, actor: Actor, account_id: int) -> int:
    """Revoke the open invitations that a person sent, and return the number of revoked rows.

    Call it in the transaction in which the person loses the role admin. Without this, the person could return with an
    invitation to another address.
    """
    return _revoke_all(actor, _unanswered(actor.tenant_id).filter(created_by_id=account_id))


def _revoke_all(actor: Actor, invitations: Any) -> int:
    """Revoke invitations. Each one gets its own row in the ledger."""
    rows = list(invitations.select_for_update(of=("self",)).order_by("id"))
    commands = []
    for row in rows:
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        commands.append(
            command_open(
                actor=actor,
                action=CommandAction.REVOKE_INVITATION,
                target_type="invitation",
                target_id=str(row.id),
                reason="the person who sent it, or whom it invites, lost the membership or the role admin",
                payload={"email": row.email},
            )
        )
    commands_finish_in_transaction(commands, CommandState.OBSERVED)
    return len(rows)


# -- Checks and the e-mail ---------------------------------------------------------------------------------------------


def _require_invitable(tenant_id: uuid.UUID, email: str) -> None:
    try:
        validate_email(email)
    except ValidationError as error:
        raise InputInvalid(f"{email[:100]!r} is not an e-mail address; correct it") from error
    if TenantMembership.objects.filter(tenant_id=tenant_id, user__email__iexact=email, user__is_active=True).exists():
        raise Conflict(f"{email} is a member already. Change the role on the page of the member", code="ALREADY_MEMBER")
    open_row = _unanswered(tenant_id).select_for_update().filter(email=email).first()
    if open_row is None:
        return
    if open_row.expires_at > timezone.now():
        raise _is_open(email)
    open_row.revoked_at = timezone.now()  # the new invitation replaces an expired one
    open_row.save(update_fields=["revoked_at"])


def _is_open(email: str) -> Conflict:
    return Conflict(f"{email} has an open invitation. Send it again, or revoke it first", code="INVITATION_OPEN")


def _unanswered(tenant_id: uuid.UUID) -> Any:
    return Invitation.objects.filter(tenant_id=tenant_id, accepted_at__isnull=True, revoked_at__isnull=True)


def _open_invitation(tenant_id: uuid.UUID, invitation_id: uuid.UUID) -> Invitation:
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("tenant")
    row = rows.filter(tenant_id=tenant_id, id=invitation_id).first()
    if row is None:
        raise _not_found(invitation_id)
    require_unanswered(row)
    return row


def _not_found(invitation_id: uuid.UUID) -> NotFound:
    return NotFound(f"the tenant has no invitation {invitation_id}", code="INVITATION_NOT_FOUND")


def _account_of(actor: Actor) -> int | None:
    """Return the account of a person, or of the person who has a token. A command has no account.

    The membership is locked, so that the end of the role admin waits, and revokes the invitation.

    Errors: PermissionRefused TENANT_LEFT if the membership has ended during this request.
    """
    account_id = int(actor.id) if actor.kind == "user" else None
    if actor.kind == "token":
        account_id = ApiToken.objects.values_list("created_by_id", flat=True).get(id=actor.id)
    membership_lock(tenant_id=actor.tenant_id, account_id=account_id)
    return account_id


def _new_expiry() -> Any:
    return timezone.now() + timedelta(hours=settings.INVITATION_HOURS)


@sensitive_variables("code", "mail")
def _send(invitation: Invitation, code: str, *, by: str) -> None:
    """Send the e-mail. Errors: DependencyDown MAIL_NOT_SENT; an operator must check the e-mail settings."""
    tenant = " ".join(Tenant.objects.get(id=invitation.tenant_id).name.split())
    mail = EmailMessage(
        subject=f"Invitation to {tenant}",
        body=TEXT.format(
            by=" ".join(by.split()),  # the name of a token can contain lines
            tenant=tenant,
            role=invitation.role,
            link=f"{settings.PUBLIC_URL}/invitation#{code}",
            until=f"{invitation.expires_at:%Y-%m-%d %H:%M}",
        ),
        to=[invitation.email],
    )
    failed: PortalError | None = None
    try:
        mail.send()
    except (smtplib.SMTPException, OSError) as error:
        failed = DependencyDown(
            f"the e-mail to {invitation.email} could not be sent, so nothing was stored: {error}. An operator must"
            " check the mail server and the settings EMAIL_HOST and EMAIL_PORT. Then send the invitation again",
            code="MAIL_NOT_SENT",
        )
    if failed is not None:  # raised outside of `except`, because the error of the mail server can contain the message
        raise failed
