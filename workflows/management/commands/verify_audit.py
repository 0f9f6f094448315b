"""`manage.py verify_audit`: the command ledger's audit chain, of one tenant or of all (docs/reference/authority.md#command-ledger)."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.audit_verify import SHOWN_PROBLEMS, audit_verify


class Command(SystemCommand):
    help = "Verify that the command ledger and its audit chain were not changed behind the portal's back."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="slug of one tenant; all otherwise")
        parser.add_argument("--expect", default="", help="with --tenant: the last hash that an earlier run printed")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["expect"] and not options["tenant"]:
            raise CommandError("--expect needs --tenant: each tenant has a chain of its own")
        tenants = [find_tenant(options["tenant"])] if options["tenant"] else Tenant.objects.order_by("slug")
        broken = 0
        for tenant in tenants:
            report = audit_verify(tenant_id=tenant.id, expected_hash=options["expect"])
            told = f"{report.commands} commands, {report.links} links, last hash {report.last_hash or 'none'}"
            verdict = f"{len(report.problems)} PROBLEMS" if report.problems else "holds"
            self.stdout.write(f"{tenant.slug}: {verdict}: {told}")
            for problem in report.problems[:SHOWN_PROBLEMS]:
                self.stdout.write(f"  {problem}")
            broken += bool(report.problems)
        if broken:
            raise CommandError(f"the ledger of {broken} tenant(s) was changed behind the portal's back")
