"""`manage.py verify_audit`: verify the audit chain of the command ledger.

Source: docs/reference/authority.md#command-ledger
"""

import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.audit_verify import SHOWN_PROBLEMS, audit_verify
from workflows.services.ledger_export_format import ExportInvalid, public_key_of, verify_export

HASH = re.compile(r"[0-9a-f]{64}")


class Command(SystemCommand):
    help = "Verify that no row of the command ledger and no link of its audit chain was manipulated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="slug of one tenant; without it, all tenants")
        parser.add_argument("--expect", default="", help="with --tenant: the last hash of an earlier verification")

        parser.add_argument("--export", metavar="FILE", help="verify a signed export; no database is needed")
        parser.add_argument("--signature", metavar="FILE", help="signature file; without it, FILE.sig")
        parser.add_argument(
            "--public-key", default="", help="key that you trust, as base64; without it, the key of LEDGER_EXPORT_KEYS"
        )

    def execute(self, *args: Any, **options: Any) -> Any:
        """Verify an export without a login for the database."""
        return BaseCommand.execute(self, *args, **options) if options["export"] else super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["export"]:
            self._verify_export(Path(options["export"]), options["signature"], options["public_key"])
            return
        if options["expect"] and not options["tenant"]:
            raise CommandError("--expect needs --tenant, because each tenant has its own chain")
        if options["expect"] and not HASH.fullmatch(options["expect"]):
            raise CommandError(
                "--expect is not a hash of 64 digits from 0 to f; copy the whole hash of the earlier output"
            )
        tenants = [find_tenant(options["tenant"])] if options["tenant"] else Tenant.objects.order_by("slug")
        manipulated = 0
        for tenant in tenants:
            report = audit_verify(tenant_id=tenant.id, expected_hash=options["expect"])
            counts = f"{report.commands} commands, {report.links} links, last hash {report.last_hash or 'none'}"
            if report.pruned_links:
                counts += f", from link {report.pruned_links + 1} on; retention deleted the earlier links"
            result = f"{len(report.problems)} PROBLEMS" if report.problems else "intact"
            self.stdout.write(f"{tenant.slug}: {result}: {counts}")
            for problem in report.problems[:SHOWN_PROBLEMS]:
                self.stdout.write(f"  {problem}")
            manipulated += bool(report.problems)
        if manipulated:
            raise CommandError(
                f"the ledger of {manipulated} tenant(s) does not match its audit chain: rows were changed outside the"
                " portal; find out who had access to the database as the owner of its tables"
            )

    def _verify_export(self, path: Path, signature: str | None, public_key: str) -> None:
        """Errors: CommandError with the first problem of the export."""
        trusted = public_key or next((public_key_of(seed) for seed in settings.LEDGER_EXPORT_KEYS.values()), "")
        if not trusted:
            raise CommandError("give the key that you trust with --public-key, because LEDGER_EXPORT_KEYS is not set")
        try:
            detached = Path(signature or f"{path}.sig").read_bytes()
            with path.open("rb") as file:
                export = verify_export(file, detached, public_key=trusted)
        except OSError as error:
            raise CommandError(f"a file cannot be read: {error}") from error
        except ExportInvalid as error:
            raise CommandError(f"the export is NOT valid: {error}") from error
        manifest = export.manifest
        self.stdout.write(
            f"{manifest['tenant']['slug']}: valid: {export.links} links, {manifest['firstSequence']} to"
            f" {manifest['lastSequence']}, last hash {manifest['lastHash']}"
        )
