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
from workflows.services.bulk.results import bulk_outcomes_of, items_worst_first, started_count
from workflows.services.bulk.selectors import item_label
from workflows.statuses import BulkOutcome, BulkState, CommandAction

SHOWN_ITEMS = 50


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
        "version_rows": [{"row": row, "replays": versions.get(row.version)} for row in page.versions],
        "newest_replays": _shown(versions[max(versions)], runs) if versions else None,
        "published_replays": _shown(versions.get(published.version), runs) if published else None,
        "replays_in_progress": any(not job["job"].ended_at for job in jobs),
        "shown_replays": [job for job in jobs if job["is_full"]],
        "earlier_replays": [job for job in jobs if not job["is_full"]],
        "all_replays": _all_replays(newest_replays(groups)) if len(jobs) > 1 else None,
    }


def _all_replays(newest: ReplayCounts) -> dict[str, Any]:
    """Return the numbers of runs by the outcome of their newest replay, as the card of one job shows them."""
    outcomes = dict.fromkeys(BulkOutcome.values, 0) | {
        BulkOutcome.SUCCEEDED: newest.succeeded,
        BulkOutcome.OPEN: newest.open,
        BulkOutcome.FAILED: newest.failed + newest.timed_out,
        BulkOutcome.CANCELED: newest.canceled,
    }
    return {
        "newest": newest,
        "outcomes": outcomes,
        "total": newest.total,
        "result": result_mark(CommandAction.REPLAY, outcomes),
        "shares": outcome_shares(outcomes),
    }


def _shown(replays: VersionReplays | None, runs: dict[uuid.UUID, Any]) -> dict[str, Any] | None:
    """Return the results of one version, with the newest failed run of each error code."""
    if replays is None:
        return None
    which = "The replay" if replays.total == 1 else f"{replays.failed} of {replays.total} replays"
    newest = [runs[failure.newest_id] for failure in replays.failures if failure.newest_id in runs]
    ends = [run.ended_at for run in newest if run.ended_at is not None]
    failures = [{"failure": failure, "run": runs.get(failure.newest_id)} for failure in replays.failures]
    return {
        "replays": replays,
        "failures": [each for each in failures if each["run"] is not None],
        "last_failed_at": max(ends, default=None),
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
        found.append(
            {
                "job": job,
                "shown_state": shown_state(job),
                "outcomes": outcomes,
                "started": started,
                "result": result_mark(job.action, outcomes),
                "parts": result_parts(job.action, outcomes),
                "shares": outcome_shares(outcomes),
                "is_first_alone": job.state == BulkState.PAUSED and job.is_first_only and started <= 1,
                "is_full": place == 0 or job.ended_at is None,
                "tried": tried[job.id],
            }
        )
    return found
