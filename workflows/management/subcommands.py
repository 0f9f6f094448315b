"""Base class of management commands with subcommands, for example `manage.py token create`."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.statuses import CommandSource, Role


class SubcommandsCommand(SystemCommand):
    """Command that calls the method `do_NAME` for its first argument. Errors of services become errors of the command.

    `arguments` has, for each subcommand, a function that adds its arguments to the parser.
    """

    arguments: ClassVar[dict[str, Callable[[CommandParser], None]]]

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="what", required=True, metavar=" | ".join(self.arguments))
        for name, add in self.arguments.items():
            subparser = subparsers.add_parser(name)
            subparser.add_argument("--by", default="manage.py", help="name of the person, for the command ledger")
            add(subparser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"do_{options['what']}")(options)
        except PortalError as error:
            raise CommandError(f"{error.code}: {error.message}") from error


def add_tenant(parser: CommandParser) -> None:
    parser.add_argument("--tenant", help="slug of the tenant; needed if there are several")


def cli_actor(tenant: Tenant, by: str) -> Actor:
    """Return the actor of a command. `by` is the name of the person for the ledger."""
    return Actor("system", "cli", by, tenant.id, Role.ADMIN, CommandSource.CLI, is_superuser=True)


def tenant_and_actor(options: dict[str, Any]) -> tuple[Tenant, Actor]:
    """Return the tenant of the option `--tenant`, and the actor for its command ledger."""
    tenant = find_tenant(options["tenant"])
    return tenant, cli_actor(tenant, options["by"])
