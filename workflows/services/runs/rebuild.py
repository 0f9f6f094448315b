"""A run's rows from Temporal's history alone (docs/reference/authority.md#age-and-repair-of-projections): the full form of the reconciler's repair.

What Temporal's retention has deleted cannot be rebuilt. It is told, and the rows of it stay as they are.
"""

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import DataError, IntegrityError
from django.db.models import QuerySet

from workflows.engine.errors import Category, RunError
from workflows.models import Run
from workflows.projection_differences import Difference
from workflows.projections.ends import RunEnd
from workflows.projections.rebuild import record_rebuilt
from workflows.projections.writer import record_launch
from workflows.services.runs.launch import run_id_of_workflow, workflow_id_of
from workflows.services.runs.origin import OriginUnknown, run_facts, run_guesses
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import Engine
from workflows.temporal import gateway
from workflows.temporal.contracts import RunInput
from workflows.temporal.course import Course, read_course
from workflows.temporal.history import Close, HistoryUnreadable
from workflows.temporal.listing import list_runs

logger = logging.getLogger(__name__)

MAX_TRIES = 3
PAGE = 500
# Of ends that a workflow cannot record itself.
ENDS = {
    "FAILED": (Category.CORRUPTION, "WORKFLOW_FAILED", "{words}"),
    "TERMINATED": (Category.CANCELLATION, "RUN_TERMINATED", "terminated in Temporal: {words}"),
    "TIMED_OUT": (Category.TIMEOUT, "RUN_TIMED_OUT", "the workflow's own time limit in Temporal has passed"),
}


@dataclass(frozen=True)
class RunRebuild:
    """`outcome`: equal, rebuilt (or would be), legacy, gone (Temporal has deleted it, the rows stand), unreadable, busy.

    `notes` say what could not be told.
    """

    run_id: uuid.UUID
    outcome: str
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    course: Course | None = None


def run_rebuild(*, run_id: uuid.UUID, is_dry_run: bool = False) -> RunRebuild:
    """Compare the rows with Temporal's history, and make them again where they differ.

    Errors: TemporalError when Temporal does not answer; nothing was written then. Other faults stand in the outcome.
    """
    run = Run.objects.filter(id=run_id).first()
    if run is not None and run.engine == Engine.DB:
        return RunRebuild(run_id, "legacy", notes=["history of an older engine, which Temporal never had"])
    try:
        for _ in range(MAX_TRIES):
            made = _rebuild_once(run_id, run, is_dry_run=is_dry_run)
            if made is not None:
                return made
            run = Run.objects.get(id=run_id)
    except gateway.TemporalNotFound as error:
        return RunRebuild(run_id, "gone", notes=[f"Temporal has no history of it (any more): {error}"])
    except (HistoryUnreadable, OriginUnknown, DataError, IntegrityError) as error:
        logger.exception("run %s cannot be rebuilt", run_id)
        return RunRebuild(run_id, "unreadable", notes=[f"{type(error).__name__}: {error}"])
    return RunRebuild(run_id, "busy", notes=["its own activities write at this moment; try again"])


def runs_to_rebuild(*, tenant_id: uuid.UUID | None = None) -> Iterator[uuid.UUID]:
    """The runs of a tenant, or all: those with a row, then those that only Temporal has.

    Errors: TemporalError while Temporal is listed.
    """
    rows = Run.objects.filter(engine=Engine.TEMPORAL)
    yield from ids_of(rows if tenant_id is None else rows.filter(tenant_id=tenant_id))
    for page in list_runs():
        found = {run_id for run_id in (run_id_of_workflow(listed.workflow_id) for listed in page) if run_id}
        known = set(Run.objects.filter(id__in=found).values_list("id", flat=True))
        yield from (run_id for run_id in found - known if tenant_id is None or _tenant_of(run_id) == tenant_id)


def ids_of(rows: QuerySet[Run]) -> Iterator[uuid.UUID]:
    """By the order of ids, a page at a time: what changes meanwhile holds nothing up."""
    last = uuid.UUID(int=0)
    while True:
        page = list(rows.filter(id__gt=last).order_by("id").values_list("id", flat=True)[:PAGE])
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1]


def _tenant_of(run_id: uuid.UUID) -> uuid.UUID | None:
    try:
        return uuid.UUID(read_course(workflow_id=workflow_id_of(run_id)).begin.run.tenant_id)
    except (gateway.TemporalNotFound, HistoryUnreadable) as error:
        logger.warning("run %s has no row, and its tenant cannot be read: %s", run_id, error)
        return None


def _rebuild_once(run_id: uuid.UUID, run: Run | None, *, is_dry_run: bool) -> RunRebuild | None:
    """None: the run's own activities have written between the reading and the lock."""
    course = read_course(workflow_id=run.temporal_workflow_id if run else workflow_id_of(run_id))
    facts = _facts(course)
    made_again = [Difference("run", "row", None, "there")] if run is None else []
    if run is None:
        if is_dry_run:
            return RunRebuild(run_id, "rebuilt", made_again, course=course)
        if not course.is_whole:
            raise OriginUnknown("its row is missing, and Temporal has deleted its first history, which had its input")
        run = _made_again(run_id, course, facts)
    missing = [] if is_dry_run else _make_missing_children(course)
    rebuilt = record_rebuilt(run, course, facts=facts, end=end_of(course), is_dry_run=is_dry_run)
    if rebuilt is None:
        return None
    if not is_dry_run and rebuilt.differences:
        logger.warning(
            "run %s was rebuilt from Temporal's history; %d fields differed", run_id, len(rebuilt.differences)
        )
        for wait_id in rebuilt.opened_waits:
            wait_look_for_events(tenant_id=str(run.tenant_id), wait_id=str(wait_id))
    for child_id in missing:
        run_rebuild(run_id=child_id)
    found = [*made_again, *rebuilt.differences]
    return RunRebuild(run_id, "rebuilt" if found else "equal", found, _notes(course), course)


def end_of(course: Course) -> RunEnd | None:
    return run_end(course.close, epoch=course.epoch) if course.close is not None else None


def run_end(close: Close, *, epoch: str) -> RunEnd:
    """The end as the row shows it. A failure has the error that the workflow ended with, or Temporal's words."""
    error = close.error
    if error is None and close.status in ENDS:
        category, code, message = ENDS[close.status]
        told = RunError(category, message.format(words=close.words or "no reason given"), code=code)
        error = told.as_object(node_path="", now_ms=int(close.at.timestamp() * 1000))
    return RunEnd(epoch, close.status, close.at, error)


def _facts(course: Course) -> dict[str, Any]:
    begin = course.begin
    facts = run_facts(begin.run, begin.origin, workflow_id=course.workflow_id)
    if not course.is_whole:
        facts.pop("input")  # an execution that goes on from another has a checkpoint in its place
    return facts | {"temporal_first_run_id": course.first_run_id}


def _made_again(run_id: uuid.UUID, course: Course, facts: dict[str, Any]) -> Run:
    begin = course.begin
    for name in ("parent_run_id", "root_run_id", "replay_of_id"):
        if facts.get(name) and not Run.objects.filter(id=facts[name]).exists():
            run_rebuild(run_id=facts[name])  # what the row points at comes first
    run = Run(id=run_id, tenant_id=uuid.UUID(begin.run.tenant_id), **_with_guesses(facts, begin.run, begin.started_at))
    record_launch(run)
    return Run.objects.get(id=run_id)


def _with_guesses(facts: dict[str, Any], given: RunInput, started_at: Any) -> dict[str, Any]:
    return run_guesses(given, started_at=started_at) | facts


def _make_missing_children(course: Course) -> list[uuid.UUID]:
    """Rows of children that this run has launched, so that its steps can point at them. Their own histories fill them."""
    wanted = {uuid.UUID(launch.run.run_id): launch for launch in course.children if launch.run is not None}
    known = set(Run.objects.filter(id__in=wanted).values_list("id", flat=True))
    for child_id, launch in wanted.items():
        if child_id not in known and launch.run is not None:
            facts = run_facts(launch.run, launch.origin, workflow_id=launch.workflow_id)
            fields = _with_guesses(facts, launch.run, course.begin.started_at)
            record_launch(Run(id=child_id, tenant_id=uuid.UUID(launch.run.tenant_id), **fields))
    return [child_id for child_id in wanted if child_id not in known]


def _notes(course: Course) -> list[str]:
    if not course.missing:
        return []
    told = f"Temporal has deleted the history of {', '.join(course.missing)}"
    kept = "what it told stays as it is" if not course.is_whole else "waits that a reset cut off there stay as they are"
    return [f"{told}; {kept}"]
