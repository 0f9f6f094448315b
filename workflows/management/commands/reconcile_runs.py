"""`manage.py reconcile_runs [--dry-run] [--run ID] [--tenant SLUG]`: compare runs with Temporal and repair the rows."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.commands.describe_run import run_id_of
from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.models import Run
from workflows.services.runs.reconcile_sweep import runs_reconcile_all


class Command(SystemCommand):
    help = "Compare every open run with Temporal and repair the rows that differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would be done and write nothing")
        parser.add_argument("--run", metavar="ID", help="one run, open or closed; compares its whole history")
        parser.add_argument("--tenant", metavar="SLUG", help="only the open runs of this tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        run_id = run_id_of(options["run"]) if options["run"] else None
        if run_id is not None and not Run.objects.filter(id=run_id).exists():
            raise CommandError(f"there is no row of the run {run_id}; rebuild_projections --run restores a missing row")
        tenant_id = find_tenant(options["tenant"]).id if options["tenant"] else None
        report = runs_reconcile_all(tenant_id=tenant_id, run_id=run_id, is_dry_run=options["dry_run"])
        if options["dry_run"]:
            self.stdout.write("dry run: nothing was written")
        for line in report.lines:
            self.stdout.write(line)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items()))
        self.stdout.write(counts or "no run to compare")
        if report.problem:
            raise CommandError(f"stopped: {report.problem}")
