"""Bulk jobs: one request for many runs, with a frozen selection and one result per run.

Source: docs/reference/screens.md#run-list
"""

from datetime import timedelta

from django.db import models
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.statuses import BulkItemState, BulkState, CommandAction, CommandSource, ReplayVersion, Role


class BulkJob(TenantRow):
    """One bulk request with its actor and its progress. Its items are fixed when the job is created."""

    action = models.CharField(max_length=40, choices=CommandAction.choices)
    reason = models.TextField(blank=True)
    selection = OrderedJSONField(default=dict, help_text="The filters or ids that chose the runs.")
    actor_type = models.CharField(max_length=20)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=200)
    actor_role = models.CharField(max_length=20, choices=Role.choices)
    source = models.CharField(max_length=20, choices=CommandSource.choices)
    command = models.ForeignKey("workflows.Command", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    incident = models.ForeignKey(
        "workflows.Incident",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="replay_jobs",
        help_text="Incident whose runs the job replays.",
    )
    TAKEN_WITHIN = timedelta(seconds=10)
    """A worker normally begins a due slice within this time."""

    state = models.CharField(max_length=20, choices=BulkState.choices, default=BulkState.PREVIEW)
    rate_per_second = models.FloatField(default=20)
    replay_version = models.CharField(max_length=20, choices=ReplayVersion.choices, default=ReplayVersion.PINNED)
    allows_another_run = models.BooleanField(
        default=False, help_text="Replay also if another run of the key is open or has succeeded since."
    )
    accepts_repeats = models.BooleanField(
        default=False, help_text="A person accepts that actions that are not idempotent repeat their effects."
    )
    preview = OrderedJSONField(null=True, blank=True, help_text="Facts of the preview, as of the freeze.")
    is_first_only = models.BooleanField(default=False, help_text="The job pauses after the request for its first run.")
    total = models.PositiveIntegerField(default=0, help_text="Number of items, including those that are not eligible.")
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    next_slice_at = models.DateTimeField(null=True, blank=True, help_text="Earliest time of the next slice of work.")

    class Meta:
        db_table = "workflow_bulk_jobs"
        indexes = [
            models.Index(fields=["tenant", "-created_at"], name="workflow_bulk_jobs_newest"),
            models.Index(
                fields=["next_slice_at"], condition=models.Q(state="running"), name="workflow_bulk_jobs_running"
            ),
            models.Index(
                fields=["tenant", "-started_at"],
                condition=models.Q(state="paused"),
                name="workflow_bulk_jobs_paused",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.total} ({self.state})"


class BulkItem(TenantRow):
    """Result of one run in a bulk job.

    The row has no foreign key to the run, because the result is kept longer than the run.
    """

    job = models.ForeignKey(BulkJob, on_delete=models.PROTECT, related_name="items")
    position = models.PositiveIntegerField()
    target_id = models.UUIDField()
    target_label = models.CharField(max_length=200, blank=True)
    status_then = models.CharField(
        max_length=20, blank=True, help_text="Status of the run when the selection was frozen."
    )
    state = models.CharField(max_length=20, choices=BulkItemState.choices, default=BulkItemState.PENDING)
    repeats_effects = models.BooleanField(
        default=False, help_text="A replay repeats the effect of an action that is not idempotent."
    )
    code = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True)
    command = models.ForeignKey("workflows.Command", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    new_run_id = models.UUIDField(
        null=True, blank=True, help_text="Id of the run that a replay starts. The run exists only if it was started."
    )
    attempts = models.PositiveIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_bulk_items"
        constraints = [models.UniqueConstraint(fields=["tenant", "job", "target_id"], name="workflow_bulk_items_once")]
        indexes = [
            models.Index(fields=["tenant", "job", "state", "position"], name="workflow_bulk_items_by_state"),
            models.Index(fields=["tenant", "job", "position"], name="workflow_bulk_items_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.target_id} {self.state}"
