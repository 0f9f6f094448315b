"""`manage.py prune`: delete rows that are older than the retention periods of their tenant.

Source: docs/reference/retention.md#how-rows-are-deleted
"""

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.retention.prune import BATCH, Pass, Progress, tenants_prune

# Seconds between two lines about one part.
LINE_EVERY = 2.0
DRY = (
    "Nothing was deleted, because this is a dry run. Events of old runs are counted as kept, because these runs are"
    " still stored."
)


class Command(SystemCommand):
    help = "Delete closed runs, events and other rows that are older than the retention periods of their tenant."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="slug of one tenant; without it, all tenants")
        parser.add_argument("--dry-run", action="store_true", help="count the rows and delete nothing")
        parser.add_argument(
            "--batch", type=int, default=BATCH, help=f"runs, events or rows in one transaction; default {BATCH}"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["batch"] <= 10_000:
            raise CommandError("--batch must be from 1 to 10000")
        tenants = [find_tenant(options["tenant"])] if options["tenant"] else Tenant.objects.order_by("slug")
        settings = Pass(batch=options["batch"], is_dry=options["dry_run"], counts=True)
        problems, shown = 0, time.monotonic()
        for progress in tenants_prune(tenants=tenants, options=settings):
            problems += bool(progress.problem)
            if (progress.is_last and (progress.total or progress.kept or progress.problem)) or (
                not progress.is_last and time.monotonic() - shown > LINE_EVERY
            ):
                shown = time.monotonic()
                self.stdout.write(_line(progress, is_dry=settings.is_dry))
        if problems:
            raise CommandError(f"{problems} part(s) were not finished; the lines above say why; repeat the command")
        self.stdout.write(DRY if settings.is_dry else "Done.")


def _line(progress: Progress, *, is_dry: bool) -> str:
    rate = progress.total / progress.seconds if progress.seconds else 0.0
    counts = ", ".join(f"{count:,} {table}" for table, count in progress.rows.most_common() if count) or "nothing"
    line = f"{progress.tenant or 'portal'}: {progress.part}: {'old: ' if is_dry else 'deleted: '}{counts}"
    if not is_dry and progress.total:
        line += f"; {rate:,.0f} rows/s, longest transaction {1000 * progress.longest:,.0f} ms"
    if progress.expected is not None and not progress.is_last:
        table = "workflow_runs" if progress.part == "runs" else "workflow_runtime_events"
        done = progress.rows[table] + sum(progress.kept.values())
        line += f"; about {max(0, progress.expected - done):,} {progress.part} remain"
    if progress.kept:
        line += f"; kept: {', '.join(f'{count:,} ({reason})' for reason, count in progress.kept.most_common())}"
    return f"{line}; NOT FINISHED: {progress.problem}" if progress.problem else line
