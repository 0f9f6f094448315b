"""`manage.py import_legacy_runs FILE`: import the run history of an older engine.

Source: docs/reference/authority.md#control-matrix
"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.errors import PortalError
from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.services.legacy_import import legacy_runs_import
from workflows.strict_json import read_json


class Command(SystemCommand):
    help = "Import runs that an older engine executed. They can only be read."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", help="slug of the tenant; needed if there are several")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant(options["tenant"])
        try:
            document = read_json(options["file"].read_text(encoding="utf-8"))
            done = legacy_runs_import(tenant_id=tenant.id, document=document)
        except OSError as error:
            raise CommandError(f"the file cannot be read: {error}; correct the path or the permissions") from error
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{options['file']} is not valid JSON: {error}") from error
        except PortalError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        self.stdout.write(f"{done.runs} runs imported, {done.known} existed already")
