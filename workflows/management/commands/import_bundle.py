"""`manage.py import_bundle FILE [--publish] [--tenant SLUG]`: import the definitions of a bundle file.

Source: docs/reference/language.md#bundles
"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.bundle_import import Imported, bundle_import
from workflows.statuses import CommandSource, Role
from workflows.strict_json import read_json


class Command(SystemCommand):
    help = "Import the definitions of a bundle file as drafts; --publish publishes them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--publish", action="store_true", help="publish the versions and each draft")
        parser.add_argument("--partial", action="store_true", help="import the definitions without a problem")
        parser.add_argument("--tenant", help="slug of the tenant; needed if there are several")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant(options["tenant"])
        actor = Actor("system", "cli", "import_bundle", tenant.id, Role.ADMIN, CommandSource.CLI)
        try:
            document = read_json(options["file"].read_text(encoding="utf-8"))
        except OSError as error:
            raise CommandError(f"the file cannot be read: {error}") from error
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{options['file']} is not valid JSON: {error}") from error
        try:
            imported = bundle_import(
                actor=actor, document=document, publish=options["publish"], partial=options["partial"]
            )
        except PortalError as error:
            raise CommandError(_error_text(error)) from error
        for item in imported:
            done = "unchanged" if item.unchanged else "saved"
            versions = f", published version {', '.join(map(str, item.versions))}" if item.versions else ""
            self.stdout.write(f"{item.key}: {'refused' if item.problems else done}{versions}")
            for line in _notes(item):
                self.stdout.write(f"  {line}")


def _notes(item: Imported) -> list[str]:
    return [
        *(f"{problem['code']} at {problem['path']}: {problem['message']}" for problem in item.problems),
        *(f"{entry['path']}: the step id {entry['from']} is now {entry['to']}" for entry in item.renamed),
        *(
            f"{call['path']}: {call['workflow']}@{call['version']} is now {call['key']}@{call['number']}"
            for call in item.references
        ),
        *(
            f"{call['path']}: no workflow {call['workflow']} is known; a run that reaches this step fails"
            for call in item.unresolved
        ),
    ]


def _error_text(error: PortalError) -> str:
    lines = [f"{error.code}: {error.message}"]
    for problem in error.details.get("problems", []):
        hint = f" ({problem['suggestion']})" if problem.get("suggestion") else ""
        lines.append(f"  {problem['code']} at {problem['path']}: {problem['message']}{hint}")
    lines += [
        f"  {item['workflow']} needs the {item['kind']} {item['name']}" for item in error.details.get("missing", [])
    ]
    return "\n".join(lines)


def find_tenant(slug: str | None) -> Tenant:
    """Return the active tenant with this slug, or the only active tenant.

    Errors: CommandError with the list of tenants.
    """
    tenants = list(Tenant.objects.filter(is_active=True).order_by("slug"))
    if slug is None and len(tenants) == 1:
        return tenants[0]
    for tenant in tenants:
        if tenant.slug == slug:
            return tenant
    known = ", ".join(tenant.slug for tenant in tenants) or "none; create one first"
    raise CommandError(
        f"choose the tenant with --tenant; tenants: {known}"
        if slug is None
        else f"there is no active tenant {slug!r}; tenants: {known}"
    )
