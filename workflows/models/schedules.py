"""Schedules, their occurrences, and holiday calendars (docs/reference/schedules.md#times).

Temporal runs a schedule. The row holds what Temporal must have, and what Temporal last reported.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.statuses import OccurrenceCause, OccurrenceStatus, ScheduleKind, ScheduleOrigin, ScheduleOverlap

SATURDAY, SUNDAY = 6, 7


def default_weekend() -> list[int]:
    return [SATURDAY, SUNDAY]


class HolidayCalendar(TenantRow):
    """Days on which a schedule with a business-day filter starts no runs."""

    name = models.CharField(max_length=100)
    weekend = models.JSONField(default=default_weekend, help_text="Days of the weekend, 1 (Monday) to 7 (Sunday).")
    holidays = models.JSONField(default=dict, help_text="Names of the holidays by date, `{YYYY-MM-DD: name}`.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_holiday_calendars"
        constraints = [models.UniqueConstraint(fields=["tenant", "name"], name="workflow_holiday_calendars_name")]

    def __str__(self) -> str:
        return self.name


class Schedule(TenantRow):
    """Times at which runs of a definition start. Temporal has one Temporal Schedule for each row."""

    definition = models.ForeignKey("workflows.Definition", on_delete=models.PROTECT, related_name="schedules")
    name = models.CharField(max_length=200)
    origin = models.CharField(max_length=20, choices=ScheduleOrigin.choices)
    temporal_schedule_id = models.CharField(max_length=300)
    kind = models.CharField(max_length=20, choices=ScheduleKind.choices)
    run_at = models.DateTimeField(null=True, blank=True)
    cron = models.CharField(max_length=200, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    payload = OrderedJSONField(default=dict, help_text="Payload of the runs. Its expressions see `schedule`.")
    overlap = models.CharField(max_length=20, choices=ScheduleOverlap.choices, default=ScheduleOverlap.ALLOW_ALL)
    catch_up_seconds = models.PositiveIntegerField(
        default=3600, help_text="After an outage of Temporal, occurrences up to this age are started."
    )
    only_business_days = models.BooleanField(default=False)
    calendar = models.ForeignKey(
        HolidayCalendar, null=True, blank=True, on_delete=models.PROTECT, related_name="schedules"
    )
    is_paused = models.BooleanField(default=False)
    paused_reason = models.CharField(max_length=500, blank=True)
    removed_at = models.DateTimeField(
        null=True, blank=True, help_text="Time at which the schedule was deleted. Its occurrences are kept."
    )
    synced_hash = models.CharField(
        max_length=64, blank=True, help_text="Hash of the state that Temporal was last seen to have."
    )
    sync_error = models.JSONField(null=True, blank=True, help_text="Why Temporal does not have the schedule yet.")
    drift = models.JSONField(
        null=True, blank=True, help_text="Last change made directly in Temporal, which the reconciler has reversed."
    )
    missed_catch_up = models.PositiveIntegerField(
        default=0, help_text="Occurrences that Temporal did not start because they were too old after an outage."
    )
    next_run_at = models.DateTimeField(null=True, blank=True)
    last_run_at = models.DateTimeField(null=True, blank=True)
    last_synced_at = models.DateTimeField(null=True, blank=True)
    last_error = models.JSONField(null=True, blank=True, help_text="Why the last occurrence started no run.")
    created_by_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_schedules"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "temporal_schedule_id"], name="workflow_schedules_id"),
            models.UniqueConstraint(
                fields=["tenant", "definition", "name"],
                condition=Q(removed_at__isnull=True),
                name="workflow_schedules_name",
            ),
        ]
        indexes = [
            # The index does not begin with the tenant, because the reconciler compares the schedules of all tenants.
            models.Index(fields=["last_synced_at"], name="workflow_schedules_by_sync"),
            models.Index(
                fields=["tenant", "next_run_at", "id"],
                name="workflow_schedules_next",
                condition=Q(is_paused=False, removed_at__isnull=True, next_run_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ScheduleOccurrence(TenantRow):
    """One time of a schedule. The unique key ensures that one occurrence starts at most one run."""

    schedule = models.ForeignKey(Schedule, on_delete=models.PROTECT, related_name="occurrences")
    scheduled_at = models.DateTimeField()
    fired_at = models.DateTimeField(default=timezone.now, help_text="Time at which the portal recorded the occurrence.")
    cause = models.CharField(max_length=20, choices=OccurrenceCause.choices)
    overlap = models.CharField(max_length=20, choices=ScheduleOverlap.choices)
    status = models.CharField(max_length=20, choices=OccurrenceStatus.choices)
    code = models.CharField(max_length=100, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    event = models.ForeignKey(
        "workflows.Event",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="occurrences",
        help_text="Stored event that starts the run. None if the occurrence starts no run.",
    )
    requested_by = models.CharField(max_length=200, blank=True)

    class Meta:
        db_table = "workflow_schedule_occurrences"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "schedule", "scheduled_at"], name="workflow_schedule_occurrences_once"
            ),
            models.UniqueConstraint(fields=["tenant", "event"], name="workflow_schedule_occurrences_event"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.scheduled_at:%Y-%m-%dT%H:%M:%S}"
