"""`manage.py tenant create|list|close|open`: tenants (docs/reference/administration.md#tenants-and-roles)."""

from typing import Any

from django.core.management.base import CommandParser

from workflows.management.commands.import_bundle import find_tenant
from workflows.management.subcommands import SubcommandsCommand
from workflows.models import Tenant
from workflows.services.tenants import tenant_create, tenant_set_active


def _add_create(parser: CommandParser) -> None:
    parser.add_argument("slug", help="short name in small letters, for example north-desk")
    parser.add_argument("--name", required=True, help="name that people see")


def _add_none(parser: CommandParser) -> None:
    """The subcommand has no arguments."""


def _add_slug(parser: CommandParser) -> None:
    parser.add_argument("slug")
    parser.add_argument("--reason", default="")


class Command(SubcommandsCommand):
    help = "Create, list, close and open tenants."
    arguments = {"create": _add_create, "list": _add_none, "close": _add_slug, "open": _add_slug}

    def do_create(self, options: dict[str, Any]) -> None:
        tenant = tenant_create(by=options["by"], slug=options["slug"], name=options["name"])
        self.stdout.write(f"The tenant {tenant.slug} exists. Add a member: manage.py member save NAME --role admin")

    def do_list(self, options: dict[str, Any]) -> None:
        for tenant in Tenant.objects.order_by("slug"):
            self.stdout.write(f"{'open' if tenant.is_active else 'closed':6}  {tenant.slug}  {tenant.name}")

    def do_close(self, options: dict[str, Any]) -> None:
        self._set_active(options, is_active=False)

    def do_open(self, options: dict[str, Any]) -> None:
        self._set_active(options, is_active=True)

    def _set_active(self, options: dict[str, Any], *, is_active: bool) -> None:
        tenant = find_tenant(options["slug"])
        tenant_set_active(by=options["by"], tenant=tenant, is_active=is_active, reason=options["reason"])
        self.stdout.write(f"The tenant {tenant.slug} is {'open' if is_active else 'closed'}.")
