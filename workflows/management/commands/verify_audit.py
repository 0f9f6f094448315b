"""`manage.py verify_audit`: verify the audit chain of the command ledger.

Source: docs/reference/authority.md#command-ledger
"""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.audit_verify import SHOWN_PROBLEMS, audit_verify


class Command(SystemCommand):
    help = "Verify that no row of the command ledger and no link of its audit chain was manipulated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="slug of one tenant; without it, all tenants")
        parser.add_argument("--expect", default="", help="with --tenant: the last hash of an earlier verification")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["expect"] and not options["tenant"]:
            raise CommandError("--expect needs --tenant, because each tenant has its own chain")
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
