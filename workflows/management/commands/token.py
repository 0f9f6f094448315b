"""`manage.py token create|list|rotate|revoke`: API tokens (docs/reference/api.md#authentication)."""

import uuid
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from workflows.management.subcommands import SubcommandsCommand, add_tenant, tenant_and_actor
from workflows.models import ApiToken
from workflows.selectors.people import token_roles_now
from workflows.services.tokens import TokenFields, token_create, token_revoke, token_rotate
from workflows.statuses import Role
from workflows.token_scopes import SCOPES

MOST_DURATION = timedelta(days=36_500)
EVERYTHING = "everything that the role may do"


def _add_create(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("--name", required=True, help="the program that uses the token")
    parser.add_argument("--role", required=True, choices=Role.values)
    parser.add_argument(
        "--scope", action="append", default=[], metavar="SCOPE", help=f"repeatable; without it, {EVERYTHING}. One of "
        + ", ".join(SCOPES),
    )  # fmt: skip
    parser.add_argument("--days", type=int, help="days until the token expires; without it, it does not expire")
    parser.add_argument("--rate", type=int, help="requests per minute")


def _add_rotate(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("id")
    parser.add_argument("--overlap-hours", type=float, default=1.0, help="time for which the old token stays valid")


def _add_revoke(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("id")
    parser.add_argument("--reason", default="")


class Command(SubcommandsCommand):
    help = "Create, list, rotate and revoke API tokens."
    arguments = {"create": _add_create, "list": add_tenant, "rotate": _add_rotate, "revoke": _add_revoke}

    def do_create(self, options: dict[str, Any]) -> None:
        _, actor = tenant_and_actor(options)
        days = options["days"]
        fields = TokenFields(
            name=options["name"],
            role=Role(options["role"]),
            scopes=options["scope"],
            expires_at=None if days is None else timezone.now() + _duration("--days", days=days),
            rate_limit_per_minute=options["rate"],
        )
        self._show_once(*token_create(actor=actor, fields=fields))

    def do_list(self, options: dict[str, Any]) -> None:
        tenant, _ = tenant_and_actor(options)
        rows = list(ApiToken.objects.select_related("created_by").filter(tenant=tenant).order_by("-created_at"))
        roles = token_roles_now(rows)
        for row in rows:
            role = roles[row.id] or "no role"  # the person of the token has left
            self.stdout.write(f"{row.id}  {row.prefix}…  {_state(row):8}  {role:8}  {_scopes(row)}  {row.name}")

    def do_rotate(self, options: dict[str, Any]) -> None:
        _, actor = tenant_and_actor(options)
        overlap = _duration("--overlap-hours", hours=options["overlap_hours"])
        self._show_once(*token_rotate(actor=actor, token_id=_id(options["id"]), overlap=overlap))

    def do_revoke(self, options: dict[str, Any]) -> None:
        _, actor = tenant_and_actor(options)
        row = token_revoke(actor=actor, token_id=_id(options["id"]), reason=options["reason"])
        self.stdout.write(f"The token {row.name} ({row.prefix}…) is revoked.")

    def _show_once(self, row: ApiToken, token: str) -> None:
        self.stderr.write(f"Token {row.id}, role {row.role}, {_scopes(row)}. It is shown only now:")
        self.stdout.write(token)


def _state(row: ApiToken) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= timezone.now() else "active"


def _scopes(row: ApiToken) -> str:
    return ",".join(row.scopes) or EVERYTHING


def _duration(option: str, **amount: float) -> timedelta:
    """Errors: CommandError for an amount that no time can be computed with. The service checks its range."""
    try:
        duration = timedelta(**amount)
    except (OverflowError, ValueError):  # `nan` is a number for argparse
        duration = timedelta.max
    if abs(duration) > MOST_DURATION:
        raise CommandError(f"{option} must be a number of at most {MOST_DURATION.days:,} days")
    return duration


def _id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not the id of a token; `manage.py token list` shows the ids") from error
