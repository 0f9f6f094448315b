"""`manage.py maintenance start|end|show`: the whole portal (docs/reference/administration.md#maintenance)."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.management.subcommands import SubcommandsCommand, cli_actor
from workflows.models import PortalMaintenance, Tenant
from workflows.services.maintenance import portal_maintenance_end, portal_maintenance_start


def _add_start(parser: CommandParser) -> None:
    parser.add_argument("--reason", required=True, help="every page shows it")


def _add_end(parser: CommandParser) -> None:
    parser.add_argument("--reason", default="")


def _add_show(parser: CommandParser) -> None:
    """The subcommand has no arguments."""


class Command(SubcommandsCommand):
    help = "Start, end or show the maintenance of the whole portal. The ledger of the first tenant records it."
    arguments = {"start": _add_start, "end": _add_end, "show": _add_show}

    def do_start(self, options: dict[str, Any]) -> None:
        portal_maintenance_start(actor=_actor(options), reason=options["reason"])
        self.stdout.write("The portal is in maintenance. New starts of all tenants are held.")

    def do_end(self, options: dict[str, Any]) -> None:
        tenants = list(Tenant.objects.order_by("slug"))
        portal_maintenance_end(actor=_actor(options), tenants=tenants, reason=options["reason"])
        self.stdout.write("The maintenance of the portal has ended. Held starts begin.")

    def do_show(self, options: dict[str, Any]) -> None:
        row = PortalMaintenance.objects.first()
        text = "The portal is not in maintenance."
        if row is not None:
            text = f"The portal is in maintenance since {row.since:%Y-%m-%d %H:%M} UTC ({row.by_name}): {row.reason}"
        self.stdout.write(text)


def _actor(options: dict[str, Any]) -> Actor:
    tenant = Tenant.objects.order_by("created_at").first()
    if tenant is None:
        raise CommandError("there is no tenant yet, so nothing can start; `manage.py tenant create` makes one")
    return cli_actor(tenant, options["by"])
