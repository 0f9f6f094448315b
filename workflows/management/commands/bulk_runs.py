"""`manage.py bulk_runs ACTION --tenant SLUG --filter KEY=VALUE`: preview a bulk job, and start it with `--start`.

Source: docs/reference/screens.md#run-list
"""

import json
import uuid
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
from workflows.services.bulk.results import bulk_preview_again
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import bulk_counts, bulk_split
from workflows.services.runs.replay_checks import replay_facts_of_job
from workflows.statuses import BulkOutcome, CommandAction, CommandSource, ReplayVersion, Role


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
        parser.add_argument(
            "--job", type=uuid.UUID, help="with replay: the runs of this earlier replay job, instead of a filter"
        )
        parser.add_argument(
            "--outcome", choices=BulkOutcome.values, help="with --job: only the runs with this outcome, such as failed"
        )
        parser.add_argument("--on", choices=ReplayVersion.values, help="with replay: the version of the new runs")
        parser.add_argument(
            "--allow-another-run",
            action="store_true",
            help="with replay: also if another run of the key is open or has succeeded",
        )
        parser.add_argument(
            "--accept-repeats", action="store_true", help="with replay: actions may repeat effects, see the preview"
        )
        parser.add_argument("--first-only", action="store_true", help="request only the first run, then pause the job")
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
        try:
            job = _preview(actor, options)
            lines = _summary(job, bulk_split(job))
            if options["start"]:
                job = bulk_start(
                    actor=actor,
                    job_id=job.id,
                    accept_repeats=options["accept_repeats"],
                    first_only=options["first_only"],
                )
        except PortalError as error:
            details = json.dumps(error.details, indent=2, ensure_ascii=False, default=str)
            raise CommandError(f"{error.code}: {error.message}\n{details}") from error
        self.stdout.write(f"{job.state}: {lines}")


def _preview(actor: Actor, options: dict[str, Any]) -> BulkJob:
    """Create the preview. Errors: CommandError for options that do not belong together."""
    is_replay = options["action"] == CommandAction.REPLAY
    chosen = [name for name in ("job", "outcome", "on", "allow_another_run", "accept_repeats") if options[name]]
    if chosen and not is_replay:
        raise CommandError(f"--{chosen[0].replace('_', '-')} is allowed only with replay; remove it")
    common = {"actor": actor, "reason": options["reason"], "rate_per_second": options["rate"]}
    if options["job"] is not None:
        if options["filter"] or options["all_runs"]:
            raise CommandError("--job selects the runs; remove --filter and --all-runs")
        return bulk_preview_again(
            **common,
            job_id=options["job"],
            outcome=options["outcome"] or "",
            replay_version=options["on"],
            allow_another_run=options["allow_another_run"],
        )
    if options["outcome"]:
        raise CommandError("--outcome is allowed only with --job; add --job")
    filters = _filters(options["filter"])
    return bulk_preview(
        **common,
        action=CommandAction(options["action"]),
        runs=runs_by_filters(tenant_id=actor.tenant_id, filters=filters, all_runs=options["all_runs"]),
        selection={"filters": filters},
        all_runs=options["all_runs"],
        replay_version=options["on"] or ReplayVersion.PINNED,
        allow_another_run=options["allow_another_run"],
    )


def _filters(given: list[str]) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals:
            raise CommandError(f"--filter needs the form KEY=VALUE, but got {text!r}")
        filters.setdefault(key, []).append(value)
    return filters


def _summary(job: BulkJob, split: dict[str, dict[str, int]]) -> str:
    lines = [f"bulk job {job.id}, {job.action} of {bulk_counts(job)['pending']} of {job.total} runs"]
    lines.append(f"  selection: {selection_in_words(job)}")
    lines += [f"  {count} {status}" for status, count in split["by_status"].items()]
    lines += [f"  {count} not eligible: {code}" for code, count in split["ineligible"].items()]
    if job.action == CommandAction.REPLAY:
        facts = replay_facts_of_job(job)
        if facts.replayed:
            lines.append(f"  {facts.replayed} replayed before; {facts.failed_replays} of these replays failed")
        lines += [f"  {each.action} is not idempotent and ran in {each.runs} runs" for each in facts.repeated]
    return "\n".join(lines)
