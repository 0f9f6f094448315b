"""`manage.py export_bundle [KEY ...] [--with-children] [--output FILE] [--tenant SLUG]`: write definitions as a bundle.

Source: docs/reference/language.md#bundles
"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.services.bundle_export import bundle_export
from workflows.statuses import CommandSource, Role


class Command(SystemCommand):
    help = "Write definitions with their drafts and versions as a bundle. Without keys, write all definitions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "keys", nargs="*", metavar="KEY", help="keys of the definitions, in the order of the bundle"
        )
        parser.add_argument("--with-children", action="store_true", help="add the definitions that these call")
        parser.add_argument("--output", type=Path, help="file to write; default: standard output")
        parser.add_argument("--tenant", help="slug of the tenant; needed if there are several")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant(options["tenant"])
        actor = Actor("system", "cli", "export_bundle", tenant.id, Role.ADMIN, CommandSource.CLI)
        try:
            text = bundle_export(actor=actor, keys=options["keys"] or None, with_children=options["with_children"])
        except PortalError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        if options["output"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            options["output"].write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise CommandError(f"the file cannot be written: {error}; correct the path or the permissions") from error
