"""Template context of the page of one bulk job: the preview before the start, the outcome of each run after it."""

import re
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import F
from django.http import HttpRequest

from workflows.admin.bulk_results import outcome_shares, result_mark
from workflows.errors import unknown_name
from workflows.models import BulkItem, BulkJob, Run
from workflows.selectors.bulk_first_runs import first_inputs
from workflows.selectors.incident_replays import replay_runs
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.claims import job_begins, job_waits_for_worker
from workflows.services.bulk.eligibility import INELIGIBLE_REASONS, MAX_CHECKED_INPUTS
from workflows.services.bulk.jobs import bulk_failures
from workflows.services.bulk.preview_facts import PreviewFacts, preview_facts
from workflows.services.bulk.results import (
    item_outcome_of,
    items_with_outcome,
    items_worst_first,
    started_count,
)
from workflows.services.bulk.selection import selection_in_words
from workflows.services.bulk.selectors import (
    bulk_commands,
    bulk_pause_reason,
    bulk_stop_reason,
    item_label,
    working_time,
)
from workflows.services.runs.replay_checks import FAILED_STATUSES
from workflows.status_marks import RUN
from workflows.statuses import BulkOutcome, BulkState, CommandAction, ReplayVersion
from workflows.templatetags.pointsman import duration

SHOWN_ITEMS = 50
PLACE = re.compile(rf"({'|'.join(BulkOutcome.values)})\.[0-9]{{1,9}}")
FIRST_TONES = {BulkOutcome.SUCCEEDED: "green", BulkOutcome.OPEN: "blue", BulkOutcome.PENDING: "blue"}


@dataclass(frozen=True)
class Row:
    """Item with its outcome, and with its new run for a replay. `item` has `run_status` and `command_state`."""

    item: Any
    label: str
    new_run: Run | None


def job_rows(request: HttpRequest, job: BulkJob, outcomes: dict[str, int]) -> dict[str, Any]:
    """Return the context of the list of runs: chips with counts, one page of rows, and the error of the address.

    `repeats` in the address selects the runs whose replay repeats the effect of an action that is not idempotent
    (`yes`), or the other runs (`no`).
    """
    chosen, after = request.GET.get("outcome", ""), request.GET.get("after", "")
    repeats = request.GET.get("repeats", "")
    problem = _page_problem(chosen, after, repeats)
    page = [] if problem else _page_of_items(job, outcomes, chosen=chosen, after=after, repeats=repeats)
    ids = [item.new_run_id for item in page if item.new_run_id is not None]
    new_runs = replay_runs(tenant_id=job.tenant_id, ids=ids)
    has_one_definition = bool(job.incident_id or preview_facts(job).pinned)
    rows = [
        Row(item, item_label(item) if has_one_definition else item.target_label, new_runs.get(item.new_run_id))
        for item in page[:SHOWN_ITEMS]
    ]
    last = page[SHOWN_ITEMS - 1] if len(page) > SHOWN_ITEMS else None
    return {
        "chips": [
            {"value": outcome, "count": number, "is_chosen": outcome == chosen}
            for outcome, number in outcomes.items()
            if number or outcome == chosen
        ],
        "problem": problem,
        "chosen": chosen,
        "repeats_choice": repeats,
        "kept": urlencode({"outcome": chosen, "repeats": repeats}),
        "repeats_count": preview_facts(job).repeats,
        "rows": rows,
        "is_first": not after,
        "next_after": f"{last.outcome}.{last.position}" if last else "",
    }


def _page_of_items(job: BulkJob, outcomes: dict[str, int], *, chosen: str, after: str, repeats: str) -> list[Any]:
    """Return the items of one page, the worst outcome first, and one more if another page follows. Cost: one statement.

    `after` is the outcome and the position of the last item of the page before: `failed.50`.
    """
    items = BulkItem.objects.filter(tenant_id=job.tenant_id, job=job).annotate(command_state=F("command__state"))
    if repeats:
        items = items.filter(repeats_effects=repeats == "yes")
    outcome, _, position = after.partition(".")
    wanted = {name: number if chosen in ("", name) else 0 for name, number in outcomes.items()}
    place = (outcome, int(position)) if after else None
    return items_worst_first([(job, items)], {job.id: wanted}, most=SHOWN_ITEMS + 1, after=place)[job.id]


def preview_context(job: BulkJob) -> dict[str, Any]:
    """Return the context of the preview: what starts, what is left out and why, and what would be repeated."""
    found = preview_facts(job)
    context: dict[str, Any] = {
        "statuses": _statuses(found.by_status),
        "eligible": found.eligible,
        "numbers": found.eligible,
        "left_out": [_left_out(found, code, count) for code, count in found.left_out.items()],
        "is_replay": job.action == CommandAction.REPLAY,
        "needs_reason": BULK_ACTIONS[job.action].needs_reason,
        "chosen_by": selection_in_words(job),
        "time_needed": duration(found.eligible / job.rate_per_second),
    }
    if job.action == CommandAction.REPLAY:
        without = found.eligible - found.repeats
        is_choice = bool(found.repeats and without)
        context |= {
            "facts": found.replay,
            "has_succeeded": found.has_succeeded,
            "versions": _versions(job, found),
            "max_checked": MAX_CHECKED_INPUTS if found.eligible > MAX_CHECKED_INPUTS else None,
            "first": _with_inputs(job, found.first),
            "repeats": found.repeats,
            "without_repeats": without,
            "is_choice": is_choice,
            "numbers": f"{without} or {found.eligible}" if is_choice else found.eligible,
            "repeats_first": found.repeats_first,
            "canceled_first": found.canceled_first,
            "on_version": _on_version(job, found),
            "failed_before": _failed_before(job, found),
        }
    return context


def _on_version(job: BulkJob, found: PreviewFacts) -> int | None:
    return found.published if job.replay_version == ReplayVersion.PUBLISHED else found.pinned


def _failed_before(job: BulkJob, found: PreviewFacts) -> int:
    """Return the number of eligible runs that failed on the version on which the job replays them."""
    is_same = job.replay_version == ReplayVersion.PINNED or (found.pinned and found.pinned == found.published)
    return sum(number for status, number in found.by_status.items() if status in FAILED_STATUSES) if is_same else 0


def _with_inputs(job: BulkJob, first: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs of which one can start first, with their inputs. Leave out runs that were deleted.

    Cost: one statement, or none for a job with the annotation `first_inputs`.
    """
    if len(first) < 2:
        return []
    rows = getattr(job, "first_inputs", None)
    if rows is None:
        rows = BulkJob.objects.filter(id=job.id).values_list(first_inputs(), flat=True).get()
    inputs = {row["run"]: row["input"] for row in rows if row["input"] is not None}
    return [{**each, "input": inputs[each["run"]]} for each in first if each["run"] in inputs]


def _statuses(by_status: dict[str, int]) -> str:
    """Return the numbers of runs by status as a text, or an empty text if all runs have one status."""
    texts = [f"{number} {RUN[status].word.lower()}" for status, number in by_status.items()]
    return ", ".join(texts) if len(texts) > 1 else ""


def _left_out(found: PreviewFacts, code: str, count: int) -> dict[str, Any]:
    first = found.left_out_first.get(code, [])
    return {"code": code, "why": INELIGIBLE_REASONS[code], "count": count, "first": first, "more": count - len(first)}


def progress_context(job: BulkJob, outcomes: dict[str, int]) -> dict[str, Any]:
    """Return the context of a job that was started: the outcome of its runs, and the steps that are possible."""
    started, commands = started_count(outcomes), bulk_commands(job)
    worked = working_time(job, commands)
    context = {
        "is_replay": job.action == CommandAction.REPLAY,
        "chosen_by": selection_in_words(job),
        "time_needed": duration(outcomes[BulkOutcome.PENDING] / job.rate_per_second),
        "shown_state": shown_state(job),
        "result": result_mark(job.action, outcomes),
        "waits_for_worker": job_waits_for_worker(job),
        "begins": job_begins(job),
        "started": started,
        "shares": outcome_shares(outcomes),
        "has_failures": bulk_failures(job).exists(),
        "pause_reason": bulk_pause_reason(job),
        "stop_reason": bulk_stop_reason(job, commands),
        "commands": commands,
        "worked": "" if worked is None else duration(worked.total_seconds()),
    }
    if job.state == BulkState.PAUSED and job.is_first_only:
        first = items_with_outcome(job).filter(attempts__gt=0).first()
        if first is not None:
            outcome = item_outcome_of(job.action, first.state, first.run_status)
            passed = _passed_step(job, first.new_run_id) if outcome == BulkOutcome.OPEN else ""
            tone = "green" if passed else FIRST_TONES.get(outcome, "red")
            context["first"] = {"item": first, "outcome": outcome, "tone": tone, "passed": passed}
    return context


def _passed_step(job: BulkJob, run_id: uuid.UUID | None) -> str:
    """Return the step in which the original failed, if the first replay has passed it. Cost: one statement."""
    runs = replay_runs(tenant_id=job.tenant_id, ids=[run_id] if run_id else [])
    return next((run.passed_step or "" for run in runs.values()), "")


def shown_state(job: BulkJob) -> str:
    """Return the state of a job as a name of `status_marks.BULK`: a job that no worker takes is not running."""
    return "waiting" if job_waits_for_worker(job) else job.state


def _versions(job: BulkJob, found: PreviewFacts) -> list[dict[str, Any]]:
    """Return the choices of the version. They have numbers if all runs have one definition and one version."""
    labels = {
        ReplayVersion.PUBLISHED: f"{found.published}, published" if found.published else "the published version",
        ReplayVersion.PINNED: f"{found.pinned}, as before" if found.pinned else "as before",
    }
    return [
        {"value": value, "label": label, "is_chosen": job.replay_version == value} for value, label in labels.items()
    ]


def _page_problem(outcome: str, after: str, repeats: str) -> str:
    """Return the reason why the page of rows cannot be shown, or an empty text."""
    if outcome and outcome not in BulkOutcome.values:
        return unknown_name(outcome, BulkOutcome.values, kind="outcome")
    if after and not PLACE.fullmatch(after):
        return "The position in the list must be an outcome and a number, for example failed.50."
    if repeats not in ("", "yes", "no"):
        return unknown_name(repeats, ["yes", "no"], kind="value of repeats")
    return ""
