"""`manage.py import_bundle FILE [--dry-run] [--publish] [--force] ...`: import the definitions of a bundle file.

Source: docs/reference/language.md#bundles
"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_import import bundle_import, bundle_preview
from workflows.services.bundle_results import problem_line, result_lines
from workflows.services.bundle_text import read_bundle_text
from workflows.statuses import CommandSource, Role


class Command(SystemCommand):
    help = "Import the definitions of a bundle file: drafts, published versions and metadata."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="show the result for each workflow; store nothing")
        parser.add_argument("--publish", action="store_true", help="also publish the drafts of the bundle")
        parser.add_argument("--partial", action="store_true", help="import the definitions without a problem")
        parser.add_argument(
            "--force", action="store_true", help="replace drafts with unpublished changes, and archived definitions"
        )
        parser.add_argument(
            "--placeholders", action="store_true", help="save drafts whose actions or schemas are missing"
        )
        parser.add_argument("--tenant", help="slug of the tenant; needed if there are several")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant(options["tenant"])
        actor = Actor("system", "cli", "import_bundle", tenant.id, Role.ADMIN, CommandSource.CLI)
        chosen = ImportOptions(**{name: options[name] for name in ("publish", "partial", "force", "placeholders")})
        run = bundle_preview if options["dry_run"] else bundle_import
        try:
            result = run(actor=actor, document=read_bundle_text(_content(options["file"])), options=chosen)
        except PortalError as error:
            raise CommandError(_error_text(error)) from error
        for item in result.imported:
            for line in result_lines(item):
                self.stdout.write(line)
        if not result.is_accepted:
            raise CommandError("the import would be refused; correct the problems above, or import with --partial")
        if options["dry_run"]:
            self.stdout.write("This was a dry run. Nothing was stored.")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"the file cannot be read: {error}; correct the path or the permissions") from error


def _error_text(error: PortalError) -> str:
    lines = [f"{error.code}: {error.message}"]
    lines += [f"  {problem_line(problem)}" for problem in error.details.get("problems", [])]
    lines += [
        f"  {item['workflow']} needs the {item['kind']} {item['name']}: {item['message']}"
        for item in error.details.get("missing", [])
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
