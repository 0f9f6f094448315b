"""`manage.py reconcile_schedules [--dry-run] [--tenant SLUG]`: compare schedules with Temporal and repair them."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.services.schedules.reconcile import schedules_reconcile


class Command(SystemCommand):
    help = "Compare every schedule with Temporal and repair the schedules that differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would be done and write nothing")
        parser.add_argument("--tenant", metavar="SLUG", help="only the schedules of this tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant_id = find_tenant(options["tenant"]).id if options["tenant"] else None
        report = schedules_reconcile(tenant_id=tenant_id, is_dry_run=options["dry_run"], budget_seconds=None)
        if options["dry_run"]:
            self.stdout.write("dry run: nothing was written")
        for line in report.lines:
            self.stdout.write(line)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items()))
        self.stdout.write(counts or "no schedule to compare")
        if report.problem:
            raise CommandError(f"stopped: {report.problem}")
