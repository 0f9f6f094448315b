"""Template context of the page of one bulk job: the preview before the start, the outcome of each run after it."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from workflows.errors import unknown_name
from workflows.models import BulkItem, BulkJob, Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.claims import job_waits_for_worker
from workflows.services.bulk.eligibility import INELIGIBLE_REASONS, MAX_CHECKED_INPUTS
from workflows.services.bulk.jobs import bulk_failures
from workflows.services.bulk.preview_facts import PreviewFacts, preview_facts
from workflows.services.bulk.results import (
    item_outcome_of,
    items_with_outcome,
    started_count,
)
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import bulk_commands, bulk_pause_reason
from workflows.statuses import BulkOutcome, BulkState, CommandAction, ReplayVersion
from workflows.templatetags.pointsman import duration

SHOWN_ITEMS = 50
FIRST_TONES = {BulkOutcome.SUCCEEDED: "green", BulkOutcome.OPEN: "blue", BulkOutcome.PENDING: "blue"}


@dataclass(frozen=True)
class Row:
    """Item with its outcome and, for a replay, its new run."""

    item: BulkItem
    outcome: str
    new_run: Run | None


def job_rows(request: HttpRequest, job: BulkJob, outcomes: dict[str, int]) -> dict[str, Any]:
    """Return the context of the list of runs: chips with counts, one page of rows, and the error of the address."""
    chosen, after = request.GET.get("outcome", ""), request.GET.get("after", "")
    problem = _page_problem(chosen, after)
    found = items_with_outcome(job, "" if problem else chosen).select_related("command")
    page = [] if problem else list(found.filter(position__gt=int(after or 0))[: SHOWN_ITEMS + 1])
    ids = [item.new_run_id for item in page if item.new_run_id is not None]
    new_runs = Run.objects.filter(tenant_id=job.tenant_id).in_bulk(ids) if ids else {}
    rows = [
        Row(item, item_outcome_of(job.action, item.state, item.run_status), new_runs.get(item.new_run_id))
        for item in page[:SHOWN_ITEMS]
    ]
    return {
        "chips": [
            {"value": outcome, "count": number, "is_chosen": outcome == chosen}
            for outcome, number in outcomes.items()
            if number or outcome == chosen
        ],
        "problem": problem,
        "chosen": chosen,
        "rows": rows,
        "is_first": not after,
        "next_after": page[SHOWN_ITEMS - 1].position if len(page) > SHOWN_ITEMS else None,
    }


def preview_context(job: BulkJob) -> dict[str, Any]:
    """Return the context of the preview: what starts, what is left out and why, and what would be repeated."""
    found = preview_facts(job)
    context: dict[str, Any] = {
        "by_status": found.by_status,
        "eligible": found.eligible,
        "left_out": [
            {"code": code, "why": INELIGIBLE_REASONS[code], "count": count} for code, count in found.left_out.items()
        ],
        "is_replay": job.action == CommandAction.REPLAY,
        "needs_reason": BULK_ACTIONS[job.action].needs_reason,
        "chosen_by": selection_in_words(job),
        "time_needed": duration(found.eligible / job.rate_per_second),
    }
    if job.action == CommandAction.REPLAY:
        context |= {
            "facts": found.replay,
            "has_succeeded": found.has_succeeded,
            "versions": _versions(job, found),
            "max_checked": MAX_CHECKED_INPUTS if found.eligible > MAX_CHECKED_INPUTS else None,
            "first_label": found.first_label,
        }
    return context


def progress_context(job: BulkJob, outcomes: dict[str, int]) -> dict[str, Any]:
    """Return the context of a job that was started: the outcome of its runs, and the steps that are possible."""
    started = started_count(outcomes)
    context = {
        "is_replay": job.action == CommandAction.REPLAY,
        "chosen_by": selection_in_words(job),
        "time_needed": duration(outcomes[BulkOutcome.PENDING] / job.rate_per_second),
        "shown_state": shown_state(job),
        "waits_for_worker": job_waits_for_worker(job),
        "started": started,
        "not_started": outcomes[BulkOutcome.NOT_STARTED],
        "shares": outcome_shares(outcomes, started),
        "is_settled": job.ended_at is not None and not outcomes[BulkOutcome.OPEN],
        "has_failures": bulk_failures(job).exists(),
        "pause_reason": bulk_pause_reason(job),
        "commands": bulk_commands(job),
    }
    if job.state == BulkState.PAUSED and job.is_first_only:
        first = items_with_outcome(job).filter(attempts__gt=0).first()
        if first is not None:
            outcome = item_outcome_of(job.action, first.state, first.run_status)
            context["first"] = {"item": first, "outcome": outcome, "tone": FIRST_TONES.get(outcome, "red")}
    return context


def shown_state(job: BulkJob) -> str:
    """Return the state of a job as a name of `status_marks.BULK`: a job that no worker has begun is not running."""
    return "waiting" if job_waits_for_worker(job) else job.state


def outcome_shares(outcomes: dict[str, int], started: int) -> list[dict[str, Any]]:
    """Return the parts of the bar, in percent of the started runs."""
    tones = {"failed": "red", "succeeded": "green", "canceled": "grey", "open": "blue"}
    return [
        {"tone": tone, "percent": f"{100 * outcomes[name] / started:.2f}", "name": name, "count": outcomes[name]}
        for name, tone in tones.items()
        if started and outcomes[name]
    ]


def _versions(job: BulkJob, found: PreviewFacts) -> list[dict[str, Any]]:
    """Return the choices of the version. They have numbers if all runs have one definition and one version."""
    labels = {
        ReplayVersion.PUBLISHED: f"{found.published}, published" if found.published else "the published version",
        ReplayVersion.PINNED: f"{found.pinned}, as before" if found.pinned else "as before",
    }
    return [
        {"value": value, "label": label, "is_chosen": job.replay_version == value} for value, label in labels.items()
    ]


def _page_problem(outcome: str, after: str) -> str:
    """Return the reason why the page of rows cannot be shown, or an empty text."""
    if outcome and outcome not in BulkOutcome.values:
        return unknown_name(outcome, BulkOutcome.values, kind="outcome")
    if after and not (after.isascii() and after.isdecimal() and len(after) <= 9):
        return "The position in the list must be a whole number."
    return ""
