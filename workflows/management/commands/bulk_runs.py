"""`manage.py bulk_runs ACTION --tenant SLUG --filter KEY=VALUE`: preview a bulk job, and start it with `--start`.

Source: docs/reference/screens.md#run-list
"""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.api.run_selection import runs_by_filters
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.models import BulkJob, Tenant
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.jobs import bulk_start
from workflows.services.bulk.preview import bulk_preview
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import bulk_counts, bulk_split
from workflows.statuses import CommandAction, CommandSource, Role


class Command(SystemCommand):
    help = "Cancel, terminate or replay many runs. Shows a preview; --start starts the job."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=[str(action) for action in BULK_ACTIONS])
        parser.add_argument("--tenant", required=True, help="slug of the tenant")
        parser.add_argument(
            "--filter", action="append", default=[], metavar="KEY=VALUE",
            help="filter of `GET /api/v1/runs`; a run must match all keys, and one value of each key",
        )  # fmt: skip
        parser.add_argument("--all-runs", action="store_true", help="select all runs of the tenant, without a filter")
        parser.add_argument("--reason", default="", help="reason for the command ledger; terminate needs one")
        parser.add_argument("--rate", type=float, help="requests to Temporal per second")
        parser.add_argument(
            "--start", action="store_true", help="start the job; without it, no request is sent to any run"
        )
        parser.add_argument("--by", default="manage.py", help="name of the person, for the command ledger")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(slug=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"there is no tenant {options['tenant']}")
        actor = Actor("system", "cli", options["by"], tenant.id, Role.ADMIN, CommandSource.CLI)
        filters = _filters(options["filter"])
        try:
            job = bulk_preview(
                actor=actor,
                action=CommandAction(options["action"]),
                runs=runs_by_filters(tenant_id=tenant.id, filters=filters, all_runs=options["all_runs"]),
                selection={"filters": filters},
                reason=options["reason"],
                rate_per_second=options["rate"],
                all_runs=options["all_runs"],
            )
            split = bulk_split(job)
            if options["start"]:
                job = bulk_start(actor=actor, job_id=job.id)
        except PortalError as error:
            details = json.dumps(error.details, indent=2, ensure_ascii=False, default=str)
            raise CommandError(f"{error.code}: {error.message}\n{details}") from error
        self.stdout.write(_summary(job, split))


def _filters(given: list[str]) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--filter needs the form KEY=VALUE, but got {text!r}")
        filters.setdefault(key, []).append(value)
    return filters


def _summary(job: BulkJob, split: dict[str, dict[str, int]]) -> str:
    lines = [f"{job.state}: bulk job {job.id}, {job.action} of {bulk_counts(job)['pending']} of {job.total} runs"]
    lines.append(f"  selection: {selection_in_words(job)}")
    lines += [f"  {count} {status}" for status, count in split["by_status"].items()]
    lines += [f"  {count} not eligible: {code}" for code, count in split["ineligible"].items()]
    return "\n".join(lines)
