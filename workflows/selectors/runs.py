"""Rows of the run page, except its steps, and an annotation of the run list."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Case, Exists, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import JSONObject
from django.template.defaultfilters import filesizeformat

from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import (
    Command,
    EventDelivery,
    HumanTask,
    Incident,
    Run,
    RunHold,
    RunLog,
    RunStep,
    RunValue,
    RunWait,
)
from workflows.selectors.failed_endings import failed_ending_of, newest_failed_ending
from workflows.selectors.incidents import shown_incident_of_run
from workflows.selectors.navigation import CappedCount
from workflows.selectors.near_misses import wait_deliveries
from workflows.selectors.runs_in_the_way import in_the_way_of, run_in_the_way
from workflows.selectors.wait_arrivals import Arrival, unrouted_event, wait_arrival
from workflows.shares import percent
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    CommandAction,
    CommandState,
    DeliveryStatus,
    LogLevel,
    RunStatus,
    WaitKind,
    WaitStatus,
)

# Temporal ends a run whose history reaches one of these limits. Units: events and bytes.
MOST_HISTORY_EVENTS, MOST_HISTORY_BYTES = 51_200, 50 * 1024 * 1024
# Counts on the run page end at this number, so that a page never counts a big set.
COUNT_LIMIT = 1_000


def runs_with_open_cancel(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Annotate the runs with `has_open_cancel`.

    It is True if a cancel of the run was accepted or has an unknown outcome, and the run has not ended yet.
    """
    cancels = Command.objects.filter(
        tenant_id=OuterRef("tenant_id"),
        run=OuterRef("pk"),
        action=CommandAction.CANCEL,
        state__in=[CommandState.ACCEPTED, CommandState.UNKNOWN],
    )
    return runs.annotate(has_open_cancel=Exists(cancels))


@dataclass(frozen=True)
class Count:
    """Number of rows. A number above `COUNT_LIMIT` is not counted to its end."""

    number: int

    def __str__(self) -> str:
        return f"{self.number:,}" if self.number <= COUNT_LIMIT else f"{COUNT_LIMIT:,}+"


@dataclass(frozen=True)
class RunCounts:
    """Numbers of rows of a run. `events`: deliveries. `delivered`: deliveries that the run has used. `logs`: without
    the level debug. `similar`: the other runs of its version that failed in its step with its code. A run that
    is no replay is compared with such runs.
    """

    events: Count
    delivered: Count
    waits: Count
    children: Count
    audit: Count
    replays: Count
    similar: Count
    logs: Count


@dataclass(frozen=True)
class History:
    """Length of the history in Temporal when the run was last compared. It is that of the present execution."""

    events: int
    bytes: int

    most_events, most_bytes = MOST_HISTORY_EVENTS, MOST_HISTORY_BYTES

    @property
    def percent(self) -> int:
        """Return the share of the limit that is nearer."""
        shares = (percent(self.events, self.most_events), percent(self.bytes, self.most_bytes))
        return int(max(shares))

    @property
    def words(self) -> str:
        sizes = f"{filesizeformat(self.bytes)} of {filesizeformat(self.most_bytes)}"
        return (
            f"{self.events:,} of {self.most_events:,} events and {sizes}, when the run was last compared with Temporal."
            " The portal continues a long run in a new history. At the limit, Temporal ends the run."
        )

    @property
    def is_long(self) -> bool:
        """Return True for a history that the portal should have ended long ago (`run_workflow.py`)."""
        return self.percent >= 50


@dataclass(frozen=True)
class RunPage:
    """A run with what explains its status.

    `wait`: the open wait, if there is one, with its `deliveries` (`wait_deliveries`). `last_error`: the error of the
    last attempt, if the wait is a retry. `task`: the task of a wait for a person. `ending`: the newest cancel or
    terminate command that was sent.
    `failed_ending`: a newer one that Temporal did not carry out, of `failed_ending_of`, if the run is open.
    `replay`: the newest replay, as `{id, status, version, created_at, ended_at}`.
    `in_the_way`: the run because of which a replay would be refused (`in_the_way_of`).
    `hold`: the legal hold, if there is one. `incident`: the one that shows the failure, with its id and number.
    `values`: texts of the business data by path. They are not redacted.
    """

    run: Run
    counts: RunCounts
    wait: RunWait | None
    deliveries: list[EventDelivery]
    last_error: dict[str, Any] | None
    task: HumanTask | None
    ending: Command | None
    failed_ending: dict[str, Any] | None
    replay: dict[str, Any] | None
    in_the_way: dict[str, Any] | None
    hold: RunHold | None
    incident: Incident | None
    values: dict[str, str]

    @property
    def is_open(self) -> bool:
        return self.run.status in OPEN_RUN_STATUSES

    @property
    def history(self) -> History | None:
        """Return the length of the history, or None if the run was not compared with Temporal yet."""
        run = self.run
        return History(run.history_event_count, run.history_bytes) if run.history_event_count else None

    @property
    def differs(self) -> bool:
        """Return True if the rows of this open run are known to differ from Temporal."""
        return self.is_open and self.run.drift_found_at is not None

    @property
    def is_live(self) -> bool:
        """Return True if the page can change: the run or its newest replay is open."""
        return self.is_open or (self.replay is not None and self.replay["status"] in OPEN_RUN_STATUSES)

    @property
    def open_cancel(self) -> Command | None:
        """Return the cancel or terminate that was sent and has not taken effect yet."""
        command = self.ending
        if command is None or not self.is_open:
            return None
        # The run can end between the read of its row and that of the command. The row is then older than the end. A
        # run that was reset after its cancel has a newer row.
        has_just_ended = command.observed_at is not None and command.observed_at > self.run.projected_at
        is_open = command.state in (CommandState.ACCEPTED, CommandState.UNKNOWN)
        return command if is_open or has_just_ended else None

    @property
    def asked(self) -> str:
        """Return `Cancel` or `Terminate`, the request of `open_cancel`."""
        return str(self.open_cancel.action).capitalize() if self.open_cancel else ""

    @property
    def is_canceling(self) -> bool:
        """Return True if Temporal has accepted the end of this open run. An event would be of no use."""
        return self.open_cancel is not None and self.open_cancel.state != CommandState.UNKNOWN

    @cached_property
    def arrival(self) -> Arrival | None:
        return wait_arrival(self.wait, self.deliveries) if self.wait is not None else None

    @property
    def has_event(self) -> bool:
        """Return True if the awaited event has arrived and can still reach the run, at once or by a redelivery."""
        return self.arrival is not None and not self.arrival.is_filtered

    @property
    def shown_status(self) -> str:
        """Return the status for `status_marks.RUN`: that of the run, or the state that its open wait shows."""
        if self.wait is not None and self.wait.kind == WaitKind.RETRY:
            return "retrying"
        is_decision = self.task is not None and self.task.task_type == DECIDE_OUTCOME
        return "unknown" if is_decision else str(self.run.status)


def run_page(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> RunPage | None:
    """Return a run with what explains its status, or None.

    The tenant of the run is loaded too. Cost: one statement, one each for the open wait, `deliveries`,
    `ending` and `similar`.
    """
    counted = {
        name: CappedCount(rows, limit=COUNT_LIMIT + 1)
        for name, rows in _counted(tenant_id=tenant_id, run_id=run_id).items()
    }
    run = _annotated().annotate(counts=JSONObject(**counted)).filter(tenant_id=tenant_id, id=run_id).first()
    if run is None:
        return None
    wait, task = _open_wait(run)
    ending_id, incident = run.ending_id, run.shown_incident
    counts = {name: Count(number) for name, number in run.counts.items()}
    ending = Command.objects.filter(tenant_id=tenant_id, id=ending_id).first() if ending_id else None
    return RunPage(
        run=run,
        counts=RunCounts(**counts, similar=Count(_similar(run))),
        wait=wait,
        deliveries=wait_deliveries(wait) if wait is not None else [],
        last_error=getattr(wait, "last_error", None),
        task=task,
        ending=ending,
        failed_ending=failed_ending_of(run, ending),
        replay=_replay(getattr(run, "newest_replay", None)),
        in_the_way=in_the_way_of(run),
        hold=_hold(run.hold),
        incident=Incident(id=incident["id"], number=incident["number"]) if incident else None,
        values={row["path"]: row["shown"] for row in run.business_data},
    )


def run_ending(run: Run) -> Command | None:
    """Return the newest cancel or terminate command of a run that was canceled or terminated. Cost: one statement."""
    if run.status not in (RunStatus.CANCELED, RunStatus.TERMINATED):
        return None
    return _endings(tenant_id=run.tenant_id, run=run).first()


def _endings(**run: Any) -> QuerySet[Command]:
    return Command.objects.filter(
        **run,
        action__in=(CommandAction.CANCEL, CommandAction.TERMINATE),
        state__in=(CommandState.ACCEPTED, CommandState.UNKNOWN, CommandState.OBSERVED),
    ).order_by("-requested_at", "-id")


def _annotated() -> QuerySet[Any]:
    own = {"tenant_id": OuterRef("tenant_id")}
    replays = Run.objects.filter(**own, replay_of=OuterRef("pk")).annotate(
        facts=JSONObject(id="id", status="status", version="version", created_at="created_at", ended_at="ended_at")
    )
    holds = RunHold.objects.filter(**own, run=OuterRef("pk"))
    hold = JSONObject(reason="reason", held_by_name="held_by_name", held_at="held_at")
    values = RunValue.objects.filter(**own, run=OuterRef("pk"))
    # The engine opens one wait at a time. A closed run has no open wait.
    waits = RunWait.objects.filter(**own, run=OuterRef("pk"), status=WaitStatus.WAITING).order_by("-opened_at", "-id")
    runs = Run.objects.select_related(
        "tenant", "event", "definition__published_version", "definition_version", "parent_run__definition"
    )
    return runs.defer("parent_run__definition__draft_text").annotate(
        ending_id=Subquery(_endings(**own, run=OuterRef("pk")).values("id")[:1]),
        open_wait_id=Subquery(waits.values("id")[:1]),
        open_wait_kind=Subquery(waits.values("kind")[:1]),
        newest_failed_ending=newest_failed_ending(),
        hold=Subquery(holds.values(facts=hold)[:1]),
        shown_incident=shown_incident_of_run(),
        business_data=ArraySubquery(values.values(facts=JSONObject(path="path", shown="shown"))),
        newest_replay=Subquery(replays.order_by("-created_at").values("facts")[:1]),
        in_the_way=run_in_the_way(),
    )


def _hold(facts: dict[str, Any] | None) -> RunHold | None:
    return RunHold(**{**facts, "held_at": datetime.fromisoformat(facts["held_at"])}) if facts else None


def _replay(facts: dict[str, Any] | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    times = {name: facts[name] and datetime.fromisoformat(facts[name]) for name in ("created_at", "ended_at")}
    return {**facts, **times, "label": RunStatus(facts["status"]).label.lower()}


def _open_wait(run: Run) -> tuple[RunWait | None, HumanTask | None]:
    """Return the open wait of a run, and its task if it waits for a person. A task has the id of its wait.

    A retry wait has the error of the last attempt as `last_error`, an event wait the `unrouted_event`.
    """
    wait_id = getattr(run, "open_wait_id", None)
    if wait_id is None or run.status not in OPEN_RUN_STATUSES:
        return None, None
    task = None
    if getattr(run, "open_wait_kind", "") == WaitKind.HUMAN:
        tasks = HumanTask.objects.select_related("wait", "claimed_by")
        task = tasks.filter(tenant_id=run.tenant_id, id=wait_id).first()
    if task is not None and task.wait is not None:
        return task.wait, task
    failed = RunStep.objects.filter(
        tenant_id=OuterRef("tenant_id"), run=OuterRef("run"), step_path=OuterRef("step_path"),
        iteration=OuterRef("iteration"), error__isnull=False,
    ).order_by("-attempt")  # fmt: skip
    last_error = Case(When(kind=WaitKind.RETRY, then=Subquery(failed.values("error")[:1])))
    waits = RunWait.objects.annotate(last_error=last_error, unrouted_event=unrouted_event())
    return waits.filter(tenant_id=run.tenant_id, id=wait_id).first(), task


def _counted(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> dict[str, QuerySet[Any]]:
    """Return the rows of each count of a run, except `similar`."""
    own: dict[str, Any] = {"tenant_id": tenant_id, "run": run_id}
    return {
        "events": EventDelivery.objects.filter(**own),
        "delivered": EventDelivery.objects.filter(**own, status__in=[DeliveryStatus.MATCHED, DeliveryStatus.STARTED]),
        "waits": RunWait.objects.filter(**own),
        "children": Run.objects.filter(tenant_id=tenant_id, parent_run=run_id),
        "audit": Command.objects.filter(**own),
        "replays": Run.objects.filter(tenant_id=tenant_id, replay_of=run_id),
        "logs": RunLog.objects.filter(**own).exclude(level=LogLevel.DEBUG),
    }


def _similar(run: Run) -> int:
    """Return the number of runs that failed like this one. Replays are counted only for a replay.

    Cost: one statement if the run failed.
    """
    if run.status != RunStatus.FAILED:
        return 0
    alike = Run.objects.filter(
        tenant_id=run.tenant_id,
        definition=run.definition_id,
        version=run.version,
        status=RunStatus.FAILED,
        error_code=run.error_code,
        error_category=run.error_category,
        failed_step_path=run.failed_step_path or "",
    )
    if run.replay_of_id is None:
        alike = alike.filter(replay_of__isnull=True)
    return alike.exclude(id=run.id)[: COUNT_LIMIT + 1].count()
