"""Replays on the page of an incident: the results by version, and each job with the runs that it tried.

Source: docs/reference/incidents.md#replay
"""

import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from workflows.admin.bulk_page import shown_state
from workflows.admin.bulk_results import outcome_shares, result_mark, result_parts
from workflows.models import BulkItem, BulkJob, Incident, Run
from workflows.selectors.incident_page import IncidentPage
from workflows.selectors.incident_replays import VersionReplays, failures_and_replays, replays_by_version
from workflows.selectors.replay_counts import ReplayCounts, newest_replays, replay_groups
from workflows.services.bulk.claims import job_begins
from workflows.services.bulk.results import bulk_outcomes_of, items_worst_first, started_count
from workflows.services.bulk.selectors import item_label
from workflows.statuses import BulkOutcome, BulkState

SHOWN_ITEMS = 50
# Outcomes that only the numbers of a job tell.
UNTOLD = (BulkOutcome.REFUSED, BulkOutcome.UNKNOWN, BulkOutcome.NOT_REQUESTED)


@dataclass(frozen=True)
class Tried:
    """One run that a job has tried to replay. `new_run` has its failed step and incident, see `replay_runs`."""

    item: BulkItem
    label: str
    new_run: Run | None


def replays_context(incident: Incident, page: IncidentPage) -> dict[str, Any]:
    """Return the context of the newest failures and of everything about replays. Cost: at most four statements.

    The newest job and those that have not ended are shown in full, with the runs that were tried.
    """
    groups = replay_groups(tenant_id=incident.tenant_id, incidents=[incident.id]).get(incident.id, [])
    versions = replays_by_version(groups)
    full = [job for place, job in enumerate(page.jobs) if place == 0 or job.ended_at is None]
    outcomes_of = bulk_outcomes_of(page.jobs)
    items = _tried_items(full, outcomes_of)
    wanted = {failure.newest_id for replays in versions.values() for failure in replays.failures}
    wanted |= {item.new_run_id for item in items if item.new_run_id is not None}
    failures, runs = failures_and_replays(incident, ids=wanted)
    tried: dict[uuid.UUID, list[Tried]] = defaultdict(list)
    for item in items:
        run = runs.get(item.new_run_id) if item.new_run_id else None
        tried[item.job_id].append(Tried(item, item_label(item), run))
    jobs = _jobs(page.jobs, outcomes_of, tried)
    published = incident.definition.published_version
    return {
        "failures": failures,
        "version_rows": [{"row": row, "replays": versions.get(row.version)} for row in page.failures.versions],
        "published_replays": _shown(versions.get(published.version), runs) if published else None,
        "replays_in_progress": any(not job["job"].ended_at for job in jobs),
        "replays_paused": any(job["job"].state == BulkState.PAUSED for job in jobs),
        "shown_replays": [job for job in jobs if job["is_full"]],
        "earlier_replays": [job for job in jobs if not job["is_full"]],
        "work": _work(newest_replays(incident.id, groups)) if groups else None,
    }


def _work(replays: ReplayCounts) -> dict[str, Any]:
    """Return what became of the runs of the incident: the counts, and the bar over all of them."""
    numbers = {
        "red": replays.failed_again, "green": replays.succeeded, "grey": replays.canceled, "blue": replays.open,
    }  # fmt: skip
    whole = replays.total + replays.not_replayed
    shares = [{"tone": tone, "percent": f"{100 * number / whole:.2f}"} for tone, number in numbers.items() if number]
    return {"replays": replays, "shares": shares}


def _shown(replays: VersionReplays | None, runs: dict[uuid.UUID, Any]) -> dict[str, Any] | None:
    """Return the results of one version, with the newest failed run of each error code."""
    if replays is None:
        return None
    which = "The replay" if replays.total == 1 else f"{replays.failed} of {replays.total} replays"
    failures = [{"failure": failure, "run": runs.get(failure.newest_id)} for failure in replays.failures]
    return {
        "replays": replays,
        "failures": [each for each in failures if each["run"] is not None],
        "failed_text": f"{which} on version {replays.version} failed",
        "has_only_failed": bool(replays.failed) and not replays.succeeded,
        "has_only_succeeded": replays.succeeded == replays.total,
    }


def _tried_items(jobs: list[BulkJob], outcomes_of: dict[uuid.UUID, dict[str, int]]) -> list[BulkItem]:
    """Return the first SHOWN_ITEMS items of each job that it has tried, the worst outcome first."""
    tried = [(job, BulkItem.objects.filter(tenant_id=job.tenant_id, job=job, attempts__gt=0)) for job in jobs]
    return [item for items in items_worst_first(tried, outcomes_of, most=SHOWN_ITEMS).values() for item in items]


def _jobs(
    jobs: list[BulkJob], outcomes_of: dict[uuid.UUID, dict[str, int]], tried: dict[uuid.UUID, list[Tried]]
) -> list[dict[str, Any]]:
    found = []
    for place, job in enumerate(jobs):
        outcomes = outcomes_of[job.id]
        started = started_count(outcomes)
        is_first_alone = job.state == BulkState.PAUSED and job.is_first_only and started <= 1
        first = next((each.new_run for each in tried[job.id] if each.new_run is not None), None)
        found.append(
            {
                "job": job,
                "shown_state": shown_state(job),
                "begins": job_begins(job),
                "outcomes": outcomes,
                "started": started,
                "result": result_mark(job.action, outcomes),
                "parts": result_parts(job.action, outcomes),
                "shares": outcome_shares(outcomes),
                "is_first_alone": is_first_alone,
                # The step in which the original failed, if the first replay has passed it and is open.
                "first_passed": getattr(first, "passed_step", "") if is_first_alone and outcomes["open"] else "",
                # The sentence over the only job of an incident has the same numbers. A job of the run list can have
                # runs of other incidents.
                "is_told": len(jobs) == 1
                and job.incident_id is not None
                and job.ended_at is not None
                and not any(outcomes[name] for name in UNTOLD),
                "is_full": place == 0 or job.ended_at is None,
                "tried": tried[job.id],
            }
        )
    return found
