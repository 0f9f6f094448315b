"""`manage.py member save|list|remove`: members of a tenant (docs/reference/administration.md#members)."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.subcommands import SubcommandsCommand, add_tenant, tenant_and_actor
from workflows.models import TenantMembership
from workflows.selectors.people import MOST_DAYS, absent_members
from workflows.services.members import member_remove, member_save
from workflows.statuses import Role


def _add_list(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("--absent-days", type=int, help="only members who have not signed in for this many days")


def _add_save(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("username")
    parser.add_argument("--role", required=True, choices=Role.values)


def _add_remove(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("username")
    parser.add_argument("--reason", default="")


class Command(SubcommandsCommand):
    help = "Give accounts a role in a tenant, list members, and end memberships."
    arguments = {"save": _add_save, "list": _add_list, "remove": _add_remove}

    def do_save(self, options: dict[str, Any]) -> None:
        tenant, actor = tenant_and_actor(options)
        member, is_new = member_save(actor=actor, username=options["username"], role=Role(options["role"]))
        verb = "is now" if is_new else "is"
        self.stdout.write(f"{member.user} {verb} {member.role} of {tenant.slug}.")

    def do_list(self, options: dict[str, Any]) -> None:
        tenant, _ = tenant_and_actor(options)
        members = TenantMembership.objects.filter(tenant=tenant).select_related("user").order_by("user__username")
        days = options["absent_days"]
        if days is not None and not 0 <= days <= MOST_DAYS:
            raise CommandError(f"--absent-days must be from 0 to {MOST_DAYS}")
        for member in members if days is None else absent_members(members, days=days):
            closed = "" if member.user.is_active else "  (account deactivated)"
            seen = f"last sign-in {member.user.last_login:%Y-%m-%d}" if member.user.last_login else "never signed in"
            self.stdout.write(f"{member.role:8}  {member.user}  {seen}{closed}")

    def do_remove(self, options: dict[str, Any]) -> None:
        tenant, actor = tenant_and_actor(options)
        member_remove(actor=actor, username=options["username"], reason=options["reason"])
        self.stdout.write(f"{options['username']} is no longer a member of {tenant.slug}.")
