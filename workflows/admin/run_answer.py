"""The answer box of the run page: what happened to a run, why, and what to do.

Each kind of answer has its words in `templates/portal/_run_answer.html`.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from workflows.engine.retry import retry_delay_ms
from workflows.models import Incident, Run
from workflows.outline.nodes import Catcher, Node, catcher_of
from workflows.outline.rows import Outline, OutlineRow
from workflows.outline.states import StepFacts
from workflows.selectors.attention import OVERDUE_AFTER
from workflows.selectors.run_list import WITHOUT_REPLAYS
from workflows.selectors.runs import RunPage
from workflows.statuses import Engine, RunStatus, WaitKind

# A run that waits says so with the tone of its wait. All other answers have the tone of the status.
TONES = {"stuck": "red", "queued": "amber", "missing_action": "amber", "starting": "blue", "running": "blue"}
# These runs continue only when a Celery worker has delivered an event or a start.
NEED_CELERY = ("waits_event", "starting", "queued")
ENDS = {
    RunStatus.FAILED: "failed",
    RunStatus.SUCCEEDED: "succeeded",
    RunStatus.CANCELED: "canceled",
    RunStatus.TERMINATED: "terminated",
    RunStatus.TIMED_OUT: "timed_out",
}


@dataclass(frozen=True)
class Answer:
    """Facts of the answer box.

    `row`: the step that the answer is about. `attempt`, `attempts`: the last attempt and the limit of attempts.
    `http_status`: the status that the failed step received. `fails_at`: the time at which the retries are used up.
    `catcher`: what happens then. `newer`: the number of the published version, if it is newer than that of the run.
    `incident`: the incident that shows this failure. `overdue_since`: the deadline of the wait, if it has passed and
    no worker has recorded it. `since`: when the shown state began. A retry began with the first attempt of its step.
    `last`: the facts of the current step if all its recorded executions have ended. The next step has no row yet.
    """

    kind: str
    row: OutlineRow | None = None
    attempt: int = 1
    attempts: int = 1
    http_status: int | None = None
    error: dict[str, Any] | None = None
    similar_url: str = ""
    fails_at: datetime | None = None
    catcher: Catcher | None = None
    newer: int | None = None
    incident: Incident | None = None
    overdue_since: datetime | None = None
    since: datetime | None = None
    last: StepFacts | None = None

    @property
    def template(self) -> str:
        return f"portal/run_answers/{self.kind}.html"

    @property
    def child_run(self) -> uuid.UUID | None:
        """Return the child run that the step started last."""
        return self.row.attempts[-1].child_id if self.row and self.row.attempts else None

    @property
    def title(self) -> str:
        return self.row.node.title if self.row else ""

    @property
    def times(self) -> str:
        return {1: "once", 2: "twice", 3: "three times"}.get(self.attempt, f"{self.attempt} times")


def answer_kind(page: RunPage, *, missing_action: str | None) -> str:
    """Return the kind of answer that fits the state of a run."""
    run, wait = page.run, page.wait
    if not page.is_open:
        return ENDS[RunStatus(run.status)]
    if run.stuck_since is not None:
        return "stuck"
    if run.queued_until is not None:
        return "queued"
    if missing_action:
        return "missing_action"
    if wait is not None:
        kind = WaitKind.TIME if wait.kind == WaitKind.QUOTA else wait.kind  # both end at a time
        return "unknown" if page.shown_status == "unknown" else f"waits_{kind}"
    return "starting" if run.status == RunStatus.STARTING else "running"


def run_answer(page: RunPage, outline: Outline, *, kind: str, facts: Mapping[str, StepFacts]) -> Answer:
    """Gather the facts of the answer box. Cost: no statement."""
    run = page.run
    nodes = {row.node.path: row.node for row in outline.rows}
    path = page.wait.step_path if page.wait else (run.error or {}).get("nodePath") or run.current_step_path
    row = next((row for row in outline.rows if row.node.path == path), None)
    error = page.last_error if kind == f"waits_{WaitKind.RETRY}" else run.error
    attempt = row.attempts[-1].attempt if row and row.attempts else 1
    policy = row.node.step.retry if row else None
    return Answer(
        kind=kind,
        row=row,
        attempt=attempt,
        attempts=policy.max_attempts if policy else 1,
        http_status=_http_status(error),
        error=error,
        similar_url=_similar_url(run),
        fails_at=_fails_at(run, row, error) if kind == f"waits_{WaitKind.RETRY}" and row else None,
        catcher=catcher_of(nodes, path) if page.is_open else None,
        newer=_newer_version(run),
        incident=page.incident if kind == "failed" else None,
        overdue_since=_overdue_since(page),
        since=_since(page, row),
        last=_ended(facts.get(path)) if kind == "running" else None,
    )


def _ended(facts: StepFacts | None) -> StepFacts | None:
    return facts if facts is not None and facts.executions and not facts.started and not facts.retrying else None


def stopping(page: RunPage, kind: str, outages: Iterable[Any]) -> list[Any]:
    """Return the outages, of `portal.pages.outages`, without whose end this run cannot continue.

    For a closed run, `outages` is not read.
    """
    if not page.is_open or page.run.engine != Engine.TEMPORAL:
        return []
    return [outage for outage in outages if outage.stops_runs or kind in NEED_CELERY]


def _since(page: RunPage, row: OutlineRow | None) -> datetime | None:
    """Return when the shown state of an open run began. The dashboard counts a retry from the same time."""
    if page.wait is None:
        return page.run.started_at
    first = row.attempts[0] if row and row.attempts and page.wait.kind == WaitKind.RETRY else None
    return first.started_at if first is not None and first.attempt == 1 else page.wait.opened_at


def _overdue_since(page: RunPage) -> datetime | None:
    due = page.wait.deadline_at if page.is_open and page.wait else None
    return due if due is not None and due < timezone.now() - OVERDUE_AFTER else None


def default_step(page: RunPage, outline_nodes: list[Node], last_path: str) -> str:
    """Return the path of the step that the side panel shows first: the failed, the current or the last one."""
    paths = {node.path for node in outline_nodes}
    error_path = str((page.run.error or {}).get("nodePath", ""))
    wanted = (error_path, page.wait.step_path if page.wait else "", page.run.current_step_path, last_path)
    return next((path for path in wanted if path in paths), outline_nodes[0].path if outline_nodes else "")


def _similar_url(run: Run) -> str:
    """Return the address of the list of runs that failed alike, this run included."""
    query = {
        "status__exact": RunStatus.FAILED.value,
        "definition": run.definition_key,
        "version": run.version,
        "error_category": run.error_category,
        "error_code": run.error_code,
        "failed_step": run.failed_step_path or "",
        "replays": "" if run.replay_of_id else WITHOUT_REPLAYS,
    }
    chosen = {name: value for name, value in query.items() if value}
    return f"{reverse('admin:workflows_run_changelist')}?{urlencode(chosen)}"


def _newer_version(run: Run) -> int | None:
    published = run.definition.published_version
    return published.version if published is not None and published.version > run.version else None


def _http_status(error: dict[str, Any] | None) -> int | None:
    details = (error or {}).get("details")
    status = details.get("status") if isinstance(details, dict) else None
    return status if isinstance(status, int) else None


def _fails_at(run: Run, row: OutlineRow, error: dict[str, Any] | None) -> datetime | None:
    """Return the time at which the last attempt ends, if every attempt fails like the last one and takes as long."""
    last, policy = (row.attempts[-1] if row.attempts else None), row.node.step.retry
    if last is None or policy is None or last.next_attempt_at is None or error is None:
        return None
    seed = f"{run.id}/{row.node.path}" + (f"#{row.iteration}" if row.iteration else "")
    took = (last.ended_at or last.started_at) - last.started_at
    at = max(last.next_attempt_at, timezone.now()) + took
    for attempt in range(last.attempt + 1, policy.max_attempts):
        delay = retry_delay_ms(
            policy, attempt=attempt, category=str(error.get("category")), code=error.get("code"), seed=seed
        )
        if delay is None:
            break
        at += timedelta(milliseconds=delay) + took
    return at
