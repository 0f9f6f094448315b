"""Versions of live pages. Each is read with one statement from few rows, and changes when the page changes.

Source: docs/reference/screens.md#live-updates
"""

import uuid
from typing import Any

from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    F,
    Max,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
)
from django.db.models.functions import Greatest
from django.utils import timezone

from workflows.event_outcomes import has_outcome
from workflows.models import (
    BulkItem,
    BulkJob,
    Command,
    Definition,
    Event,
    EventDelivery,
    HumanTask,
    Incident,
    IncidentNote,
    OutboxEvent,
    Run,
    Schedule,
    ScheduleOccurrence,
    Tenant,
)
from workflows.selectors.attention import dead_deliveries, held_deliveries
from workflows.selectors.step_counts import uncounted_runs
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    OPEN_TASK_STATUSES,
    BulkItemState,
    BulkState,
    DeliveryStatus,
    Engine,
    EventOutcome,
)

COMMAND_TIMES = ("requested_at", "decided_at", "observed_at")
DELIVERY_TIMES = ("created_at", "next_attempt_at", "sent_at", "decided_at")
# A list shows fewer rows on its first page.
MARKED_ROWS = 200
TASK_TIMES = ("created_at", "claimed_at", "completing_at", "completed_at")


def run_version(tenant_id: uuid.UUID, object_id: str, **ignored: Any) -> Any:
    """Return the version of a run with its commands, deliveries, tasks and replays, or None if there is no such run."""
    replays = Run.objects.filter(tenant_id=tenant_id, replay_of=OuterRef("pk")).order_by("-created_at")
    runs = _found(Run.objects.filter(tenant_id=tenant_id), object_id)
    return runs.values_list(
        "projection_epoch",
        "projection_seq",
        "projected_at",
        "status",
        "drift_found_at",
        "stuck_attempts",
        "queued_until",
        _latest(Command.objects.filter(run=OuterRef("pk")), "run", COMMAND_TIMES),
        _latest(EventDelivery.objects.filter(run=OuterRef("pk")), "run", DELIVERY_TIMES),
        _latest(HumanTask.objects.filter(run=OuterRef("pk")), "run", TASK_TIMES),
        _first(replays, "id"),
        _first(replays, "status"),
        _first(replays, "current_step_path"),
    ).first()


def event_version(tenant_id: uuid.UUID, object_id: str, **ignored: Any) -> Any:
    """Return the version of an event with its deliveries, or None if there is no such event."""
    events = _found(Event.objects.filter(tenant_id=tenant_id), object_id)
    return events.values_list(
        "outcome",
        "outcome_reason",
        "can_be_taken_by",
        ExpressionWrapper(Q(buffered_until__lte=timezone.now()), output_field=BooleanField()),
        "routed_at",
        "route_at",
        "routing_attempts",
        _latest(EventDelivery.objects.filter(event=OuterRef("pk")), "event", DELIVERY_TIMES),
    ).first()


def bulk_job_version(tenant_id: uuid.UUID, object_id: str, **ignored: Any) -> Any:
    """Return the version of a bulk job with its items and the runs that it started, or None without such a job."""
    first_pending = BulkItem.objects.filter(tenant_id=tenant_id, job=OuterRef("pk"), state=BulkItemState.PENDING)
    jobs = _found(BulkJob.objects.filter(tenant_id=tenant_id), object_id)
    first_pending = first_pending.order_by("position")
    return jobs.values_list(
        "state", "ended_at", "next_slice_at", ExpressionWrapper(_late(), output_field=BooleanField()),
        _first(first_pending, "position"), *_runs_of(tenant_id),
    ).first()  # fmt: skip


def bulk_jobs_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's bulk jobs: the newest, those that go on, the last end, and the runs."""
    jobs = BulkJob.objects.filter(tenant_id=tenant_id)
    going = jobs.filter(state=BulkState.RUNNING).order_by("-next_slice_at")
    tenants = Tenant.objects.filter(id=tenant_id)
    return tenants.values_list(
        _first(jobs.order_by("-created_at"), "id"),
        _first(going, "next_slice_at"),
        Exists(going.filter(_late())),
        _first(jobs.filter(state=BulkState.PAUSED).order_by("-started_at"), "id"),
        _first(jobs.filter(ended_at__isnull=False).order_by("-ended_at"), "ended_at"),
        *_runs_of(tenant_id),
    ).first()


def runs_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's runs: the times of the newest run, the newest change and the newest end."""
    return Tenant.objects.filter(id=tenant_id).values_list(*_runs_of(tenant_id)).first()


def events_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's events: the newest event, the oldest one not routed, the newest delivery."""
    return Tenant.objects.filter(id=tenant_id).values_list(*_events_of(tenant_id)).first()


def dashboard_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of everything that the dashboard shows: runs, events, and the newest command."""
    command = _first(Command.objects.filter(tenant_id=tenant_id).order_by("-requested_at"), "id")
    tenants = Tenant.objects.filter(id=tenant_id)
    return tenants.values_list(*_runs_of(tenant_id), *_events_of(tenant_id), command).first()


def definition_version(tenant_id: uuid.UUID, object_id: str, **ignored: Any) -> Any:
    """Return the version of a definition with its map, or None if there is no such definition.

    The map changes with the runs of the tenant, and when the counting of steps has reached them.
    """
    definitions = _found(Definition.objects.filter(tenant_id=tenant_id), object_id)
    uncounted = _first(uncounted_runs(tenant_id=tenant_id), "projected_at")
    return definitions.values_list(
        "draft_version", "published_version", "is_paused", "updated_at", uncounted, *_runs_of(tenant_id)
    ).first()


def incident_version(tenant_id: uuid.UUID, object_id: str, **ignored: Any) -> Any:
    """Return the version of an incident with its notes, and of the runs, or None if there is no such incident.

    The newest incident is part of it: the page names the incidents of replays that failed with another cause.
    """
    notes = IncidentNote.objects.filter(tenant_id=tenant_id, incident=OuterRef("pk")).order_by("-created_at")
    jobs = BulkJob.objects.filter(tenant_id=tenant_id, incident=OuterRef("pk"), started_at__isnull=False)
    jobs = jobs.order_by(F("ended_at").desc(nulls_first=True), "-started_at")
    newest = Incident.objects.filter(tenant_id=tenant_id).order_by("-number")
    incidents = _found(Incident.objects.filter(tenant_id=tenant_id), object_id)
    return incidents.values_list(
        "state", "state_since", "owner_name", "snoozed_for", "run_count", "merged_into", _first(notes, "id"),
        _first(jobs, "id"), _first(jobs, "state"), _first(jobs, "next_slice_at"), Exists(jobs.filter(_late())),
        _first(newest, "number"), *_runs_of(tenant_id),
    ).first()  # fmt: skip


def incidents_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's incidents, and of the runs, because the list counts replays."""
    incidents = Incident.objects.filter(tenant_id=tenant_id).order_by().values("tenant_id")
    facts = {"count": Count("id"), "failed": Max("last_failed_at"), "since": Max("state_since")}
    own = [Subquery(incidents.annotate(**{name: fact}).values(name)) for name, fact in facts.items()]
    return Tenant.objects.filter(id=tenant_id).values_list(*own, *_runs_of(tenant_id)).first()


def tasks_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's tasks: the newest task, and the open tasks that are due first."""
    tasks = HumanTask.objects.filter(tenant_id=tenant_id)
    first_due = tasks.filter(status__in=OPEN_TASK_STATUSES).order_by("due_at", "id")
    tenants = Tenant.objects.filter(id=tenant_id)
    return tenants.values_list(
        _first(tasks.order_by("-created_at"), "id"), _Marks(first_due, Greatest(*TASK_TIMES), "claimed_by_id")
    ).first()


def dead_letters_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the newest dead deliveries, of the starts that are held longest, and of refused rows."""
    deliveries = EventDelivery.objects.filter(tenant_id=tenant_id)
    refused = OutboxEvent.objects.filter(tenant_id=tenant_id, refused_at__isnull=False).order_by("-refused_at")
    return (
        Tenant.objects.filter(id=tenant_id)
        .values_list(
            _Marks(dead_deliveries(deliveries), Greatest(*DELIVERY_TIMES), "id"),
            _Marks(held_deliveries(deliveries), F("held_since"), "id"),
            _first(refused, "id"),
        )
        .first()
    )


def definitions_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's definitions, and of the runs, because the list counts runs."""
    definitions = Definition.objects.filter(tenant_id=tenant_id).order_by("name")
    marks = [_Marks(rows, F("updated_at"), "id") for rows in (definitions, definitions.filter(is_paused=True))]
    return Tenant.objects.filter(id=tenant_id).values_list(*marks, *_runs_of(tenant_id)).first()


def schedules_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the tenant's schedules: their settings, their last runs and comparisons, the next times."""
    schedules = Schedule.objects.filter(tenant_id=tenant_id, removed_at__isnull=True).order_by("id")
    marks = [
        _Marks(schedules, Greatest("updated_at", "last_run_at", "last_synced_at"), "sync_error"),
        _Marks(schedules, F("next_run_at"), "last_error"),
    ]
    return Tenant.objects.filter(id=tenant_id).values_list(*marks).first()


def schedule_version(tenant_id: uuid.UUID, object_id: str, **ignored: Any) -> Any:
    """Return the version of a schedule with its newest occurrence, and of the runs, or None without such a schedule."""
    occurrences = ScheduleOccurrence.objects.filter(tenant_id=tenant_id, schedule=OuterRef("pk"))
    newest = occurrences.order_by("-scheduled_at")
    return _found(Schedule.objects.filter(tenant_id=tenant_id), object_id).values_list(
        "updated_at", "last_run_at", "next_run_at", "last_synced_at", "is_paused", "sync_error", "last_error", "drift",
        _first(newest, "id"), _first(newest, "status"), *_runs_of(tenant_id),
    ).first()  # fmt: skip


def ledger_version(tenant_id: uuid.UUID, **ignored: Any) -> Any:
    """Return the version of the newest commands of the ledger."""
    newest = Command.objects.filter(tenant_id=tenant_id).order_by("-requested_at")
    return (
        Tenant.objects.filter(id=tenant_id)
        .values_list(_first(newest, "id"), _Marks(newest, Greatest(*COMMAND_TIMES), "decided_at"))
        .first()
    )


class _Marks(Subquery):
    """Marks of the first rows of a query, as one text: their number, how many have a value in `field`, the latest time.

    Each insertion, deletion and change of these rows changes the text.
    """

    template = "(SELECT concat_ws(' ', count(*), count(%(field)s), max(latest)) FROM (%(subquery)s) AS marked)"
    output_field = TextField()

    def __init__(self, rows: QuerySet[Any], latest: Any, field: str) -> None:
        super().__init__(rows.annotate(latest=latest).values("latest", field)[:MARKED_ROWS], field=field)


def _runs_of(tenant_id: uuid.UUID) -> list[Subquery]:
    runs = Run.objects.filter(tenant_id=tenant_id)
    # The conditions are those of the indexes workflow_runs_walk and workflow_runs_ended.
    compared = runs.filter(engine=Engine.TEMPORAL, status__in=OPEN_RUN_STATUSES, drift_found_at__isnull=True)
    return [
        _first(runs.order_by("-created_at"), "created_at"),
        _first(compared.order_by("-projected_at"), "projected_at"),
        _first(runs.filter(ended_at__isnull=False).order_by("-ended_at"), "ended_at"),
    ]


def _events_of(tenant_id: uuid.UUID) -> list[Subquery]:
    events = Event.objects.filter(tenant_id=tenant_id)
    deliveries = EventDelivery.objects.filter(tenant_id=tenant_id)
    return [
        _first(events.order_by("-received_at"), "id"),
        _first(events.order_by("-received_at"), "outcome"),
        _first(events.filter(routed_at__isnull=True).order_by("route_at"), "route_at"),
        *(
            _first(events.filter(has_outcome(outcome)).order_by("-received_at"), "id")
            for outcome in (EventOutcome.BUFFERED, EventOutcome.BUFFER_OVER, EventOutcome.UNMATCHED)
        ),
        *(
            _first(deliveries.filter(status=status).order_by("-created_at"), "id")
            for status in (DeliveryStatus.PENDING, DeliveryStatus.SENT, DeliveryStatus.DEAD)
        ),
    ]


def _late() -> Q:
    """Return the condition of jobs that no worker takes. Their pages say so without another change."""
    return Q(state=BulkState.RUNNING, next_slice_at__lt=timezone.now() - BulkJob.TAKEN_WITHIN)


def _first(rows: QuerySet[Any], field: str) -> Subquery:
    return Subquery(rows.values(field)[:1])


def _latest(rows: QuerySet[Any], group: str, fields: tuple[str, ...]) -> Subquery:
    """Return the latest of these times of the rows of one run or event."""
    own = rows.filter(tenant_id=OuterRef("tenant_id")).order_by().values(group)
    return Subquery(own.annotate(latest=Max(Greatest(*fields))).values("latest"))


def _found(rows: QuerySet[Any], row_id: str) -> QuerySet[Any]:
    try:
        return rows.filter(id=uuid.UUID(str(row_id)))
    except ValueError:
        return rows.none()
