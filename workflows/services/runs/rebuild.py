"""Rebuild of a run's rows from Temporal's history alone (docs/reference/authority.md#age-and-repair-of-projections).

If Temporal has deleted a history after its retention period, the rows of this run cannot be rebuilt. The run is
reported, and its rows are not changed.
"""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DataError, IntegrityError
from django.db.models import QuerySet

from workflows.engine.clock import ms_of_datetime
from workflows.engine.errors import Category, RunError
from workflows.models import Run
from workflows.projection_differences import Difference
from workflows.projections.ends import RunEnd
from workflows.projections.launches import record_launch
from workflows.projections.rebuild import record_rebuild
from workflows.services.runs.launch import run_id_of_workflow, workflow_id_of
from workflows.services.runs.origin import OriginUnknown, run_facts, run_guesses
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import Engine, ReconcileOutcome
from workflows.temporal import gateway
from workflows.temporal.contracts import RunInput
from workflows.temporal.history import Close, HistoryUnreadable
from workflows.temporal.listing import list_runs
from workflows.temporal.run_history import RunHistory, read_run_history

logger = logging.getLogger(__name__)

MAX_TRIES = 3
PAGE = 500
# Errors for the ends of a run that its workflow cannot record itself. Each has a category, a code and a message.
ENDS = {
    "FAILED": (Category.CORRUPTION, "WORKFLOW_FAILED", "{message}"),
    "TERMINATED": (Category.CANCELLATION, "RUN_TERMINATED", "terminated in Temporal: {message}"),
    "TIMED_OUT": (Category.TIMEOUT, "RUN_TIMED_OUT", "the run exceeded the time limit of its workflow in Temporal"),
}


@dataclass(frozen=True)
class RunRebuild:
    """Result of a rebuild.

    `outcome` is EQUAL, REBUILT, LEGACY, GONE, UNREADABLE or BUSY. In a dry run, REBUILT means that the rows would be
    rebuilt.

    `notes` name the parts that could not be compared.
    """

    run_id: uuid.UUID
    outcome: ReconcileOutcome
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run_rebuild(*, run_id: uuid.UUID, is_dry_run: bool = False) -> RunRebuild:
    """Compare the run's rows with Temporal's history, and rebuild them if they differ.

    Errors: TemporalError if Temporal does not respond. Then nothing was written. Other errors are reported in the
    outcome.
    """
    run = Run.objects.filter(id=run_id).first()
    if run is not None and run.engine == Engine.DB:
        return RunRebuild(
            run_id,
            ReconcileOutcome.LEGACY,
            notes=["an older engine executed this run, so Temporal has no history of it"],
        )
    try:
        for _ in range(MAX_TRIES):
            rebuild = _rebuild_once(run_id, run, is_dry_run=is_dry_run)
            if rebuild is not None:
                return rebuild
            run = Run.objects.get(id=run_id)
    except gateway.TemporalNotFound as error:
        return RunRebuild(run_id, ReconcileOutcome.GONE, notes=[f"Temporal has no history of it (any more): {error}"])
    except (HistoryUnreadable, OriginUnknown, DataError, IntegrityError) as error:
        logger.exception("run %s cannot be rebuilt", run_id)
        return RunRebuild(run_id, ReconcileOutcome.UNREADABLE, notes=[f"{type(error).__name__}: {error}"])
    return RunRebuild(run_id, ReconcileOutcome.BUSY, notes=["its own activities are writing at present; try again"])


def runs_to_rebuild(*, tenant_id: uuid.UUID | None = None) -> Iterator[uuid.UUID]:
    """Yield the runs of one tenant or of all tenants.

    Runs with a row come first. Runs that exist only in Temporal follow.

    Errors: TemporalError, while Temporal lists its workflows.
    """
    rows = Run.objects.filter(engine=Engine.TEMPORAL)
    yield from ids_of(rows if tenant_id is None else rows.filter(tenant_id=tenant_id))
    for page in list_runs():
        found = {run_id for run_id in (run_id_of_workflow(listed.workflow_id) for listed in page) if run_id}
        known = set(Run.objects.filter(id__in=found).values_list("id", flat=True))
        yield from (run_id for run_id in found - known if tenant_id is None or _tenant_of(run_id) == tenant_id)


def ids_of(rows: QuerySet[Run]) -> Iterator[uuid.UUID]:
    """Yield the ids in order, in pages. So a long iteration holds no cursor and no lock."""
    last = uuid.UUID(int=0)
    while True:
        page = list(rows.filter(id__gt=last).order_by("id").values_list("id", flat=True)[:PAGE])
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def _tenant_of(run_id: uuid.UUID) -> uuid.UUID | None:
    try:
        return uuid.UUID(read_run_history(workflow_id=workflow_id_of(run_id)).begin.run.tenant_id)
    except (gateway.TemporalNotFound, HistoryUnreadable) as error:
        logger.warning("run %s has no row, and its tenant cannot be read from its history: %s", run_id, error)
        return None


def _rebuild_once(run_id: uuid.UUID, run: Run | None, *, is_dry_run: bool) -> RunRebuild | None:
    """Compare and rebuild once.

    Return None if the run's own activities wrote to the rows after the history was read and before the rows were
    locked.
    """
    history = read_run_history(workflow_id=run.temporal_workflow_id if run else workflow_id_of(run_id))
    facts = _facts(history)
    missing_row = [Difference("run", "row", None, "in Temporal")] if run is None else []
    if run is None:
        if is_dry_run:
            return RunRebuild(run_id, ReconcileOutcome.REBUILT, missing_row)
        if not history.is_whole:
            raise OriginUnknown(
                "its row is missing, and Temporal has deleted its first history, which contained its input"
            )
        run = _create_row(run_id, history, facts)
    created_children = [] if is_dry_run else _create_missing_children(history)
    rebuilt = record_rebuild(run, history, facts=facts, end=_end_of(history), is_dry_run=is_dry_run)
    if rebuilt is None:
        return None
    if not is_dry_run and rebuilt.differences:
        logger.warning(
            "run %s was rebuilt from Temporal's history; %d fields differed", run_id, len(rebuilt.differences)
        )
        for wait_id in rebuilt.opened_waits:
            wait_look_for_events(tenant_id=str(run.tenant_id), wait_id=str(wait_id))
    for child_id in created_children:
        run_rebuild(run_id=child_id)
    found = [*missing_row, *rebuilt.differences]
    return RunRebuild(
        run_id,
        ReconcileOutcome.REBUILT if found else ReconcileOutcome.EQUAL,
        found,
        [*_missing_histories(history), *(_unfinished_writes(history) if found else [])],
    )


def _end_of(history: RunHistory) -> RunEnd | None:
    return run_end(history.close, epoch=history.epoch) if history.close is not None else None


def run_end(close: Close, *, epoch: str) -> RunEnd:
    """Return the end of the run in the form of the run's row.

    If the run failed, the error is the workflow's own error. If the workflow has no error, the error has Temporal's
    message.
    """
    error = close.error
    if error is None and close.status in ENDS:
        category, code, message = ENDS[close.status]
        run_error = RunError(category, message.format(message=close.message or "no reason given"), code=code)
        error = run_error.as_object(node_path="", now_ms=ms_of_datetime(close.at))
    return RunEnd(epoch, close.status, close.at, error)


def _facts(history: RunHistory) -> dict[str, Any]:
    begin = history.begin
    facts = run_facts(begin.run, begin.origin, workflow_id=history.workflow_id)
    if not history.is_whole:
        facts.pop("input")  # a continued execution has a checkpoint instead of the input
    return facts | {"temporal_first_run_id": history.first_run_id}


def _create_row(run_id: uuid.UUID, history: RunHistory, facts: dict[str, Any]) -> Run:
    begin = history.begin
    for name in ("parent_run_id", "root_run_id", "replay_of_id"):
        if facts.get(name) and not Run.objects.filter(id=facts[name]).exists():
            run_rebuild(run_id=facts[name])  # rebuild the rows first to which this row refers
    run = Run(id=run_id, tenant_id=uuid.UUID(begin.run.tenant_id), **_with_guesses(facts, begin.run, begin.started_at))
    record_launch(run)
    return Run.objects.get(id=run_id)


def _with_guesses(facts: dict[str, Any], given: RunInput, started_at: datetime) -> dict[str, Any]:
    return run_guesses(given, started_at=started_at) | facts


def _create_missing_children(history: RunHistory) -> list[uuid.UUID]:
    """Insert missing rows of the run's children, so that the run's steps can refer to these rows.

    Return the ids of the children.

    The caller then rebuilds each child from the child's own history.
    """
    wanted = {uuid.UUID(launch.run.run_id): launch for launch in history.children if launch.run is not None}
    known = set(Run.objects.filter(id__in=wanted).values_list("id", flat=True))
    for child_id, launch in wanted.items():
        if child_id not in known and launch.run is not None:
            facts = run_facts(launch.run, launch.origin, workflow_id=launch.workflow_id)
            fields = _with_guesses(facts, launch.run, history.begin.started_at)
            record_launch(Run(id=child_id, tenant_id=uuid.UUID(launch.run.tenant_id), **fields))
    return [child_id for child_id in wanted if child_id not in known]


def _unfinished_writes(history: RunHistory) -> list[str]:
    """Return a possible reason for differences: activities that may not have written their records."""
    count = history.unfinished_activities
    if not count:
        return []
    if history.close is None:
        return [f"{count} activities are in progress; their records may not be in the rows yet; compare again later"]
    return [f"Temporal ended the run during {count} activities; their records may be missing in the rows"]


def _missing_histories(history: RunHistory) -> list[str]:
    if not history.missing:
        return []
    deleted = f"Temporal has deleted the history of {', '.join(history.missing)}"
    if history.is_whole:
        return [f"{deleted}; waits that a reset has undone there stay as they are"]
    return [f"{deleted}; rows from that time stay as they are"]
