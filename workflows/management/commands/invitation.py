"""`manage.py invitation create|list|resend|revoke` (docs/reference/administration.md#invitations)."""

import uuid
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from workflows.management.subcommands import SubcommandsCommand, add_tenant, tenant_and_actor
from workflows.models import Invitation
from workflows.services.invitations import invitation_create, invitation_resend, invitation_revoke
from workflows.statuses import Role


def _add_create(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("email")
    parser.add_argument("--role", required=True, choices=Role.values)


def _add_email(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("email")


def _add_revoke(parser: CommandParser) -> None:
    _add_email(parser)
    parser.add_argument("--reason", default="")


class Command(SubcommandsCommand):
    help = "Invite people to a tenant by e-mail, list invitations, send them again, and revoke them."
    arguments = {"create": _add_create, "list": add_tenant, "resend": _add_email, "revoke": _add_revoke}

    def do_create(self, options: dict[str, Any]) -> None:
        _, actor = tenant_and_actor(options)
        row = invitation_create(actor=actor, email=options["email"], role=Role(options["role"]))
        self.stdout.write(f"The e-mail to {row.email} was sent. Its link ends at {row.expires_at:%Y-%m-%d %H:%M} UTC.")

    def do_list(self, options: dict[str, Any]) -> None:
        tenant, _ = tenant_and_actor(options)
        for row in Invitation.objects.filter(tenant=tenant).order_by("-created_at", "-id"):
            self.stdout.write(f"{_state(row):8}  {row.role:8}  {row.expires_at:%Y-%m-%d %H:%M} UTC  {row.email}")

    def do_resend(self, options: dict[str, Any]) -> None:
        tenant, actor = tenant_and_actor(options)
        row = invitation_resend(actor=actor, invitation_id=_id_of(tenant.id, options["email"]))
        self.stdout.write(f"The e-mail to {row.email} was sent. Its link ends at {row.expires_at:%Y-%m-%d %H:%M} UTC.")

    def do_revoke(self, options: dict[str, Any]) -> None:
        tenant, actor = tenant_and_actor(options)
        invitation_id = _id_of(tenant.id, options["email"])
        row = invitation_revoke(actor=actor, invitation_id=invitation_id, reason=options["reason"])
        self.stdout.write(f"The invitation of {row.email} is revoked.")


def _state(row: Invitation) -> str:
    if row.accepted_at is not None:
        return "accepted"
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at <= timezone.now() else "open"


def _id_of(tenant_id: uuid.UUID, email: str) -> uuid.UUID:
    """Return the id of the newest invitation of an address. Errors: CommandError."""
    row = Invitation.objects.filter(tenant_id=tenant_id, email=email.lower()).order_by("-created_at", "-id").first()
    if row is None:
        raise CommandError(f"the tenant has no invitation of {email}; `manage.py invitation list` shows all of them")
    return row.id
