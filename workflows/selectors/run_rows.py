"""What the run list says about each run of a page: its shown status, its error or its current step, and its replay."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import Command, HumanTask, Run, RunStep, RunWait
from workflows.redaction import Rules, redact
from workflows.selectors.run_list import RETRYING, UNKNOWN
from workflows.statuses import (
    OPEN_TASK_STATUSES,
    CommandAction,
    CommandState,
    RunStatus,
    StepStatus,
    WaitKind,
    WaitStatus,
)

_RETRY_FIRST = Case(When(kind=WaitKind.RETRY, then=Value(0)), default=Value(1))


@dataclass
class RunRow:
    """A run with the rows that explain it.

    `definition`: name of the definition. `error`: the redacted error.
    `wait`: the open wait with the nearest deadline; a retry comes first. `task`: the open task of the run. `retry`: the
    failed attempt before the retry. `replay`: the newest replay. `canceled_by`: the command that ended the run.
    """

    run: Run
    definition: str
    error: Any
    wait: RunWait | None = None
    task: HumanTask | None = None
    retry: RunStep | None = None
    replay: Run | None = None
    canceled_by: Command | None = None

    @property
    def status(self) -> str:
        """Return the shown status (`workflows/selectors/run_list.py`)."""
        if self.run.status != RunStatus.WAITING:
            return self.run.status
        if self.task is not None and self.task.task_type == DECIDE_OUTCOME:
            return UNKNOWN
        return RETRYING if self.wait is not None and self.wait.kind == WaitKind.RETRY else self.run.status

    @property
    def began_at(self) -> datetime:
        return self.run.started_at or self.run.created_at

    @property
    def step(self) -> str:
        return step_title(self.run)


def step_title(run: Run) -> str:
    """Return the name of the failed or current step of a run from `with_step_names`."""
    return getattr(run, "step_name", None) or getattr(run, "step_id", None) or ""


def with_step_names(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Annotate the runs with the name and the id of their failed or current step.

    PostgreSQL computes them only for the rows of the page, because the page has a limit.
    """
    steps = RunStep.objects.filter(
        tenant_id=OuterRef("tenant_id"),
        run=OuterRef("pk"),
        step_path=Coalesce(OuterRef("failed_step_path"), OuterRef("current_step_path")),
    )
    return runs.annotate(step_name=Subquery(steps.values("name")[:1]), step_id=Subquery(steps.values("step_id")[:1]))


def run_rows(runs: list[Run], *, tenant_id: uuid.UUID, names: dict[str, str], rules: Rules) -> list[RunRow]:
    """Return the rows of one page. `names` has the names of definitions by key. Cost: at most five statements."""
    rows = {
        run.id: RunRow(run, names.get(run.definition_key, run.definition_key), redact(run.error, rules, "/error"))
        for run in runs
    }
    waiting = [run.id for run in runs if run.status == RunStatus.WAITING]
    if waiting:
        _add_waits(rows, waiting, tenant_id, rules)
    ended = [run.id for run in runs if run.status in (RunStatus.CANCELED, RunStatus.TERMINATED)]
    if ended:
        _add_commands(rows, ended, tenant_id)
    if runs:
        replays = Run.objects.filter(tenant_id=tenant_id, replay_of__in=list(rows)).only(
            "id", "tenant_id", "replay_of_id", "status", "created_at"
        )
        for replay in replays.order_by("replay_of", "-created_at").distinct("replay_of"):
            rows[_known(replay.replay_of_id)].replay = replay
    return list(rows.values())


def _add_waits(rows: dict[uuid.UUID, RunRow], waiting: list[uuid.UUID], tenant_id: uuid.UUID, rules: Rules) -> None:
    waits = RunWait.objects.filter(tenant_id=tenant_id, run__in=waiting, status=WaitStatus.WAITING).defer("filters")
    for wait in waits.order_by("run", _RETRY_FIRST, "deadline_at", "opened_at").distinct("run"):
        rows[wait.run_id].wait = wait
    tasks = HumanTask.objects.filter(tenant_id=tenant_id, run__in=waiting, status__in=OPEN_TASK_STATUSES).only(
        "id", "tenant_id", "run_id", "task_type", "title", "due_at"
    )
    for task in tasks.order_by("due_at"):
        known = rows[task.run_id].task
        if known is None or task.task_type == DECIDE_OUTCOME:
            rows[task.run_id].task = task
    retries = [row.wait for row in rows.values() if row.wait is not None and row.wait.kind == WaitKind.RETRY]
    if retries:
        places = Q()
        for wait in retries:
            places |= Q(run=wait.run_id, step_path=wait.step_path, iteration=wait.iteration)
        steps = RunStep.objects.filter(places, tenant_id=tenant_id, status=StepStatus.RETRY_SCHEDULED)
        for step in steps.defer("input", "output").order_by("run", "-attempt").distinct("run"):
            step.error = redact(step.error, rules, "/error")
            rows[step.run_id].retry = step


def _add_commands(rows: dict[uuid.UUID, RunRow], ended: list[uuid.UUID], tenant_id: uuid.UUID) -> None:
    commands = Command.objects.filter(
        tenant_id=tenant_id,
        run__in=ended,
        action__in=[CommandAction.CANCEL, CommandAction.TERMINATE],
        state=CommandState.OBSERVED,
    ).only("id", "tenant_id", "run_id", "actor_name", "reason")
    for command in commands.order_by("run", "-requested_at").distinct("run"):
        rows[_known(command.run_id)].canceled_by = command


def _known(run_id: uuid.UUID | None) -> uuid.UUID:
    assert run_id is not None, "the query selects only rows of a run"
    return run_id
