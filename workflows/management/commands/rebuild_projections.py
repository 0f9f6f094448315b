"""`manage.py rebuild_projections (--run ID | --tenant SLUG | --all)`: rebuild projections from Temporal's history."""

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.commands.describe_run import run_id_of
from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.services.runs.rebuild import RunRebuild, run_rebuild, runs_to_rebuild
from workflows.statuses import ReconcileOutcome
from workflows.temporal import gateway


class Command(SystemCommand):
    help = "Rebuild the projections of runs from Temporal's history alone, and show the differences."

    def add_arguments(self, parser: CommandParser) -> None:
        chosen = parser.add_mutually_exclusive_group(required=True)
        chosen.add_argument("--run", metavar="ID", help="one run, also without a row")
        chosen.add_argument("--tenant", metavar="SLUG", help="every run of this tenant")
        chosen.add_argument("--all", action="store_true", help="every run")
        parser.add_argument("--dry-run", action="store_true", help="show the differences and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        is_dry_run = options["dry_run"]
        counts: Counter[str] = Counter()
        try:
            for run_id in self._chosen(options):
                made = run_rebuild(run_id=run_id, is_dry_run=is_dry_run)
                is_planned = is_dry_run and made.outcome == ReconcileOutcome.REBUILT
                counts["would be rebuilt" if is_planned else made.outcome] += 1
                self._print(made)
        except gateway.TemporalError as error:
            raise CommandError(
                f"stopped, because Temporal does not respond: {error}; done so far: {_counts_text(counts)}"
            ) from error
        self.stdout.write(("dry run, nothing was written: " if is_dry_run else "") + _counts_text(counts))

    def _chosen(self, options: dict[str, Any]) -> Iterator[uuid.UUID]:
        if options["run"]:
            return iter([run_id_of(options["run"])])
        return runs_to_rebuild(tenant_id=find_tenant(options["tenant"]).id if options["tenant"] else None)

    def _print(self, made: RunRebuild) -> None:
        if made.outcome == ReconcileOutcome.EQUAL and not made.notes:
            return
        self.stdout.write(f"{made.run_id} {made.outcome}")
        for difference in made.differences:
            self.stdout.write(f"  {difference}")
        for note in made.notes:
            self.stdout.write(f"  {note}")


def _counts_text(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no run"
