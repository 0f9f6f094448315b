"""Rows of the run page and the run list."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from workflows.models import Command, Event, EventDelivery, Run, RunStep, RunWait
from workflows.statuses import OPEN_RUN_STATUSES, CommandAction, CommandState, DeliveryStatus, EventOutcome, WaitStatus

NEAR_MISS_SPAN = timedelta(minutes=10)
NEAR_MISSES = 5
SHOWN_ROWS = 500
SHOWN_WAITS = 50


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
class WaitView:
    """An open wait, with the usual reasons why it is still open.

    `near_misses`: undelivered events with the event name of the wait and another key.
    `refused`: deliveries to the wait that did not match.
    """

    wait: RunWait
    near_misses: list[Event]
    refused: list[EventDelivery]


@dataclass(frozen=True)
class RunPage:
    run: Run
    waiting_on: list[WaitView]
    failed_step: RunStep | None
    attempts: list[RunStep]
    steps: list[RunStep]
    waits: list[RunWait]
    deliveries: list[EventDelivery]
    invocations: list[Any]
    commands: list[Command]
    children: list[Run]
    replays: list[Run]
    open_cancel: Command | None

    @property
    def is_open(self) -> bool:
        return self.run.status in OPEN_RUN_STATUSES


def run_page(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> RunPage | None:
    """Return everything that the run page shows. Cost: eleven queries, and three for each open wait."""
    run = (
        Run.objects.select_related("event", "definition", "definition_version", "parent_run")
        .filter(tenant_id=tenant_id, id=run_id)
        .first()
    )
    if run is None:
        return None
    steps = list(run.steps.order_by("projection_seq", "id")[:SHOWN_ROWS])
    waits = list(run.waits.select_related("event").order_by("opened_at", "id")[:SHOWN_ROWS])
    commands = list(run.commands.order_by("-requested_at")[:SHOWN_ROWS])
    failed = _failed_step(run)
    return RunPage(
        run=run,
        waiting_on=[_wait_view(wait) for wait in _open_waits(run, waits)],
        failed_step=failed,
        attempts=_attempts(run, failed, steps),
        steps=steps,
        waits=waits,
        deliveries=list(run.deliveries.select_related("event", "wait").order_by("created_at")[:SHOWN_ROWS]),
        invocations=list(run.invocations.order_by("started_at")[:SHOWN_ROWS]),
        commands=commands,
        children=list(run.children.defer("input", "output").order_by("created_at")[:SHOWN_ROWS]),
        replays=list(run.replays.only("id", "tenant_id").order_by("created_at")[:20]),
        open_cancel=next((command for command in commands if _is_open_cancel(command)), None),
    )


def _open_waits(run: Run, waits: list[RunWait]) -> list[RunWait]:
    """Return the open waits. If the run has more waits than the page shows, query the open waits separately."""
    if len(waits) < SHOWN_ROWS:
        return [wait for wait in waits if wait.status == WaitStatus.WAITING]
    rows = run.waits.select_related("event").filter(status=WaitStatus.WAITING)
    return list(rows.order_by("opened_at", "id")[:SHOWN_WAITS])


def _failed_step(run: Run) -> RunStep | None:
    """Return the step in which the run's error occurred.

    The loops and `try` steps around this step are not returned.
    """
    if not run.error:
        return None
    failed = run.steps.filter(error__isnull=False).order_by("-projection_seq", "-id")
    return failed.filter(step_path=run.error["nodePath"]).first() or failed.first()


def _attempts(run: Run, failed: RunStep | None, steps: list[RunStep]) -> list[RunStep]:
    """Return the attempts of the failed step, at most `SHOWN_ROWS`."""
    if failed is None:
        return []
    if len(steps) < SHOWN_ROWS:
        return [row for row in steps if (row.step_path, row.iteration) == (failed.step_path, failed.iteration)]
    rows = run.steps.filter(step_path=failed.step_path, iteration=failed.iteration)
    return list(rows.order_by("projection_seq", "id")[:SHOWN_ROWS])


def row_count(rows: QuerySet[Any], shown: list[Any]) -> int:
    """Return the number of all rows. The database is queried only if the page does not show all rows."""
    return len(shown) if len(shown) < SHOWN_ROWS else rows.count()


def _is_open_cancel(command: Command) -> bool:
    return command.action == CommandAction.CANCEL and command.state in (CommandState.ACCEPTED, CommandState.UNKNOWN)


def _wait_view(wait: RunWait) -> WaitView:
    if not wait.event_name:
        return WaitView(wait, [], [])
    reached = EventDelivery.objects.filter(
        tenant_id=OuterRef("tenant_id"),
        event=OuterRef("pk"),
        status__in=[DeliveryStatus.MATCHED, DeliveryStatus.STARTED],
    )
    near = (
        Event.objects.filter(
            tenant_id=wait.tenant_id,
            event_type=wait.event_name,
            received_at__gte=wait.opened_at - NEAR_MISS_SPAN,
            occupies_id=True,
        )
        .exclude(keys__key=wait.correlation_key)
        .exclude(outcome__in=[EventOutcome.DELIVERED, EventOutcome.PARTLY_DELIVERED])
        .exclude(Exists(reached))
        .order_by("-received_at")[:NEAR_MISSES]
    )
    refused = wait.deliveries.select_related("event").exclude(status="matched").order_by("-created_at")[:NEAR_MISSES]
    return WaitView(wait, list(near), list(refused))
