"""Projections of runs, their steps, waits and logs (docs/reference/projections.md#rows).

Temporal holds the authoritative state. Only `workflows.projections` writes these tables. Each row stores its epoch
(Temporal run id), the run's sequence number, and the time of the write. The epoch and the sequence number ensure that a
late or repeated record changes nothing.
"""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils import timezone

from workflows.models.fields import FoldedField, OrderedJSONField, TenantRow, reversed_field
from workflows.models.guard import projection_guard
from workflows.models.step_counts import WHOLLY_COUNTED
from workflows.statuses import (
    OPEN_RUN_STATUSES,
    Engine,
    LogLevel,
    RunStatus,
    StepStatus,
    TriggerType,
    WaitKind,
    WaitStatus,
)


class ProjectionRow(TenantRow):
    """Base class of projections. Its columns say which point of the run's history the row shows."""

    projection_epoch = models.CharField(max_length=64, blank=True, help_text="Temporal run id that wrote this row.")
    projection_seq = models.BigIntegerField(default=0, help_text="Sequence number of the record within the run.")
    projected_at = models.DateTimeField(default=timezone.now)

    class Meta:
        abstract = True


class Run(ProjectionRow):
    """One execution of a definition version."""

    definition = models.ForeignKey("workflows.Definition", on_delete=models.PROTECT, related_name="runs")
    definition_version = models.ForeignKey("workflows.DefinitionVersion", on_delete=models.PROTECT, related_name="runs")
    definition_key = models.CharField(max_length=200)
    version = models.PositiveIntegerField()
    definition_hash = models.CharField(max_length=64)
    semantics_version = models.PositiveIntegerField()
    engine = models.CharField(max_length=20, choices=Engine.choices, default=Engine.TEMPORAL)
    status = models.CharField(max_length=20, choices=RunStatus.choices, default=RunStatus.STARTING)
    state = models.CharField(max_length=200, blank=True, help_text="State that the author sets (meta.state).")
    trigger_type = models.CharField(max_length=20, choices=TriggerType.choices, default=TriggerType.MANUAL)
    trigger_metadata = models.JSONField(default=dict, blank=True)
    event = models.ForeignKey(
        "workflows.Event", null=True, blank=True, on_delete=models.PROTECT, related_name="started_runs"
    )
    correlation_key = models.CharField(
        max_length=1000, blank=True, help_text="Correlation key of the event that started the run."
    )
    correlation_key_folded = FoldedField(source="correlation_key")
    correlation_key_reversed = reversed_field("correlation_key_folded")
    concurrency_key = models.CharField(
        max_length=1000, blank=True, help_text="Only one run of the definition with this key may be open."
    )
    queued_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="The start waits for the end of a run with the same concurrency key. Time of the next check.",
    )
    parent_run = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="children")
    parent_step_path = models.CharField(max_length=500, blank=True)
    root_run = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="descendants")
    replay_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="replays")
    temporal_workflow_id = models.CharField(max_length=255)
    temporal_first_run_id = models.CharField(max_length=64, blank=True)
    input = OrderedJSONField(default=dict)
    output = OrderedJSONField(null=True, blank=True, help_text="Scopes at the end of the run: payload, vars, meta.")
    current_step_path = models.CharField(max_length=500, blank=True)
    error = OrderedJSONField(null=True, blank=True)
    error_category = models.CharField(max_length=40, blank=True)
    error_code = models.CharField(max_length=100, blank=True)
    failed_step_path = models.GeneratedField(
        expression=KT("error__nodePath"),
        output_field=models.TextField(null=True),
        db_persist=True,
        help_text="Step in which the error of the run occurred.",
    )
    step_count = models.PositiveIntegerField(default=0)
    failed_step_count = models.PositiveIntegerField(default=0)
    event_count = models.PositiveIntegerField(default=0, help_text="Number of events that resolved a wait of this run.")
    history_event_count = models.PositiveIntegerField(default=0)
    history_bytes = models.PositiveBigIntegerField(default=0)
    projection_base_seq = models.BigIntegerField(
        default=0, help_text="First sequence number that the current epoch wrote."
    )
    counted_seq = models.BigIntegerField(
        default=0, help_text="Highest sequence number whose steps are in the counters of the definition's map."
    )
    drift_reason = models.CharField(max_length=500, blank=True)
    drift_found_at = models.DateTimeField(null=True, blank=True)
    stuck_since = models.DateTimeField(
        null=True, blank=True, help_text="Time of the first failed attempt of the workflow task that cannot be done."
    )
    stuck_attempts = models.PositiveIntegerField(default=0)
    stuck_cause = models.CharField(max_length=500, blank=True)
    requested_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    took = models.GeneratedField(
        expression=F("ended_at") - Coalesce("started_at", "created_at"),
        output_field=models.DurationField(null=True),
        db_persist=True,
        help_text="Time from the start to the end.",
    )

    class Meta:
        db_table = "workflow_runs"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "temporal_workflow_id"], name="workflow_runs_workflow_id")
        ]
        indexes = [
            models.Index(fields=["tenant", "-created_at"], name="workflow_runs_newest"),
            models.Index(fields=["tenant", "status", "-created_at"], name="workflow_runs_by_status"),
            models.Index(fields=["tenant", "definition", "status"], name="workflow_runs_by_definition"),
            models.Index(
                fields=["tenant", "definition", "-ended_at"],
                include=["status", "started_at", "replay_of"],
                condition=Q(ended_at__isnull=False),
                name="workflow_runs_last_ended",
            ),
            # The next indexes are for the filters and orders of the run list.
            models.Index(fields=["tenant", "correlation_key_folded", "id"], name="workflow_runs_by_folded_key"),
            models.Index(fields=["tenant", "correlation_key_reversed"], name="workflow_runs_by_key_end"),
            models.Index(fields=["tenant", "definition_key", "-created_at"], name="workflow_runs_by_def_key"),
            models.Index(
                fields=["tenant", "definition_key", "version", "-created_at"], name="workflow_runs_by_def_version"
            ),
            models.Index(fields=["tenant", "trigger_type", "-created_at"], name="workflow_runs_by_trigger"),
            models.Index(
                fields=["tenant", "took", "id"], name="workflow_runs_by_took", condition=Q(ended_at__isnull=False)
            ),
            models.Index(
                fields=["tenant", "-created_at"], name="workflow_runs_replays", condition=Q(replay_of__isnull=False)
            ),
            models.Index(
                fields=["tenant", "definition_key", "status", "-created_at"], name="workflow_runs_by_def_status"
            ),
            models.Index(
                fields=["tenant", "state", "-created_at"], name="workflow_runs_by_state", condition=~Q(state="")
            ),
            models.Index(
                fields=["tenant", "error_code", "-created_at"],
                name="workflow_runs_by_error_code",
                condition=~Q(error_code=""),
            ),
            models.Index(
                fields=["tenant", "failed_step_path", "-created_at"],
                name="workflow_runs_by_failed_step",
                condition=Q(failed_step_path__isnull=False),
            ),
            models.Index(
                fields=["tenant", "current_step_path", "-created_at"],
                name="workflow_runs_by_current_step",
                condition=Q(status__in=[status.value for status in OPEN_RUN_STATUSES]),
            ),
            models.Index(
                fields=["tenant", "-ended_at"],
                include=["status", "replay_of"],
                condition=Q(ended_at__isnull=False),
                name="workflow_runs_ended",
            ),
            models.Index(
                fields=["tenant", "correlation_key"], name="workflow_runs_by_key", condition=~Q(correlation_key="")
            ),
            models.Index(
                fields=["tenant", "error_category", "-created_at"],
                name="workflow_runs_by_error",
                condition=~Q(error_category=""),
            ),
            models.Index(
                fields=["tenant", "definition", "concurrency_key", "status"],
                name="workflow_runs_by_run_key",
                condition=~Q(concurrency_key=""),
            ),
            models.Index(
                fields=["tenant", "queued_until"], name="workflow_runs_queued", condition=Q(queued_until__isnull=False)
            ),
            # The index does not begin with the tenant, because the sweep searches the interrupted launches of all
            # tenants.
            models.Index(
                fields=["created_at"], name="workflow_runs_starting", condition=Q(status=RunStatus.STARTING.value)
            ),
            # Runs with steps, or with an end, that the counters of the definition's map do not have yet.
            models.Index(
                fields=["tenant", "projected_at"],
                name="workflow_runs_uncounted",
                condition=Q(counted_seq__lt=F("projection_seq"))
                | Q(ended_at__isnull=False, counted_seq__lt=WHOLLY_COUNTED),
            ),
            # The next two indexes are the cursors of the reconciler's walk.
            models.Index(
                fields=["tenant", "projected_at"],
                include=["id", "queued_until"],
                name="workflow_runs_walk",
                condition=Q(
                    engine=Engine.TEMPORAL.value,
                    status__in=[status.value for status in OPEN_RUN_STATUSES],
                    drift_found_at__isnull=True,
                ),
            ),
            models.Index(
                fields=["tenant", "projected_at"],
                include=["id", "queued_until"],
                name="workflow_runs_drifted",
                condition=Q(
                    engine=Engine.TEMPORAL.value,
                    status__in=[status.value for status in OPEN_RUN_STATUSES],
                    drift_found_at__isnull=False,
                ),
            ),
            # Incidents read failed runs in the order in which their rows were written.
            models.Index(
                fields=["tenant", "projected_at"],
                include=["id", "ended_at"],
                name="workflow_runs_failed",
                condition=Q(
                    engine=Engine.TEMPORAL.value, status__in=[RunStatus.FAILED.value, RunStatus.TIMED_OUT.value]
                ),
            ),
            models.Index(
                fields=["tenant", "stuck_since"], name="workflow_runs_stuck", condition=Q(stuck_since__isnull=False)
            ),
        ]
        triggers = [projection_guard()]

    def __str__(self) -> str:
        return f"{self.definition_key}@{self.version} {self.id}"

    @property
    def began_at(self) -> datetime:
        """Return the time from which every page counts how long the run takes, as the column `took` does."""
        return self.started_at or self.created_at

    def projection_age_seconds(self) -> float | None:
        """Return the time since the row was last written from Temporal or compared with Temporal.

        Return None for a closed run, because the content of its row is final.
        Units: seconds.
        """
        if self.status not in OPEN_RUN_STATUSES:
            return None
        return round(max(0.0, (timezone.now() - self.projected_at).total_seconds()), 1)


class RunStep(ProjectionRow):
    """One attempt of one step in one iteration of its loops."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="steps")
    step_path = models.CharField(max_length=500)
    iteration = models.CharField(
        max_length=200, blank=True, help_text="Indexes of the loops, outermost first, separated by dots."
    )
    attempt = models.PositiveIntegerField(default=1)
    step_id = models.CharField(max_length=200)
    step_type = models.CharField(max_length=40)
    name = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=20, choices=StepStatus.choices)
    branch = models.CharField(max_length=20, blank=True, help_text="The branch that a control step chose.")
    action_id = models.CharField(max_length=200, blank=True)
    action_version = models.PositiveIntegerField(null=True, blank=True)
    input = OrderedJSONField(null=True, blank=True)
    output = OrderedJSONField(null=True, blank=True)
    error = OrderedJSONField(null=True, blank=True)
    child_run = models.ForeignKey(Run, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_run_steps"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "run", "step_path", "iteration", "attempt"], name="workflow_run_steps_one_attempt"
            )
        ]
        indexes = [models.Index(fields=["tenant", "run", "projection_seq"], name="workflow_run_steps_in_order")]
        triggers = [projection_guard()]

    def __str__(self) -> str:
        return f"{self.step_id} #{self.attempt} {self.status}"


class RunWait(ProjectionRow):
    """Open or closed wait of a run. Routing finds an event wait by tenant, event name and correlation key."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="waits")
    step_path = models.CharField(max_length=500)
    iteration = models.CharField(max_length=200, blank=True)
    step_id = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=WaitKind.choices)
    status = models.CharField(max_length=20, choices=WaitStatus.choices)
    event_name = models.CharField(max_length=200, blank=True)
    correlation_key = models.CharField(max_length=1000, blank=True)
    filters = models.JSONField(default=list, blank=True)
    opened_seq = models.BigIntegerField(default=0, help_text="Sequence number of the record that opened the wait.")
    opened_at = models.DateTimeField()
    ready_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Logical time at which the run became able to reach this wait. The lookback counts from it.",
    )
    deadline_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    event = models.ForeignKey(
        "workflows.Event", null=True, blank=True, on_delete=models.PROTECT, related_name="resolved_waits"
    )

    class Meta:
        db_table = "workflow_run_waits"
        indexes = [
            models.Index(
                fields=["tenant", "event_name", "correlation_key"],
                name="workflow_run_waits_open",
                condition=Q(status="WAITING"),
            ),
            models.Index(fields=["tenant", "run", "opened_at"], name="workflow_run_waits_of_run"),
            # Runs that wait for a retry.
            models.Index(
                fields=["tenant", "run"],
                name="workflow_run_waits_retrying",
                condition=Q(status="WAITING", kind=WaitKind.RETRY.value),
            ),
            # The next two indexes find near misses: waits with the same name and another key, and waits with the same
            # key that have another name or are already closed.
            models.Index(
                fields=["tenant", "event_name", "-opened_at"],
                name="workflow_run_waits_by_name",
                condition=Q(status="WAITING"),
            ),
            models.Index(fields=["tenant", "correlation_key", "-opened_at"], name="workflow_run_waits_by_key"),
            # Waits whose deadline has passed. The reconciler checks whether Temporal can move their runs.
            models.Index(
                fields=["tenant", "deadline_at"],
                name="workflow_run_waits_due",
                condition=Q(status="WAITING", deadline_at__isnull=False),
            ),
            # The page "Next" reads the deadlines of each kind in the order of their times.
            models.Index(
                fields=["tenant", "kind", "deadline_at", "id"],
                name="workflow_waits_due_by_kind",
                condition=Q(status="WAITING", deadline_at__isnull=False),
            ),
        ]
        triggers = [projection_guard()]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_name} {self.correlation_key} {self.status}"


class RunLog(TenantRow):
    """Log line of a run. The projections write it from the record with the same epoch and sequence number."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="logs")
    projection_epoch = models.CharField(max_length=64, blank=True)
    projection_seq = models.BigIntegerField(default=0)
    at = models.DateTimeField()
    level = models.CharField(max_length=10, choices=LogLevel.choices, default=LogLevel.INFO)
    step_path = models.CharField(max_length=500, blank=True)
    iteration = models.CharField(max_length=200, blank=True)
    message = models.TextField()
    error = OrderedJSONField(null=True, blank=True)

    class Meta:
        db_table = "workflow_run_logs"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "run", "projection_epoch", "projection_seq"], name="workflow_run_logs_once"
            )
        ]

    def __str__(self) -> str:
        return self.message
