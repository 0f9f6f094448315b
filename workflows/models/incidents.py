"""Incidents: failed runs with one cause (docs/reference/incidents.md).

Only `workflows.services.incidents` writes these tables. Temporal has no incidents, so they are not projections.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.models.fields import TenantRow
from workflows.statuses import IncidentState


class Incident(TenantRow):
    """Failed runs of one definition that have the same step, error code and normalised message.

    A merged incident keeps its row and its failures. `merged_into` names the incident that shows them.
    """

    OTHER_MESSAGES = "(other messages)"
    """Message of the incident that has the failures whose messages have no incident of their own."""

    number = models.PositiveIntegerField(help_text="Number within the tenant. Screens show it as INC-<number>.")
    definition = models.ForeignKey("workflows.Definition", on_delete=models.PROTECT, related_name="incidents")
    fingerprint = models.CharField(max_length=64, help_text="Hash of the values that later failures must have.")
    step_id = models.CharField(max_length=200, blank=True)
    step_name = models.CharField(max_length=200, blank=True)
    step_path = models.CharField(max_length=500, blank=True, help_text="Path of the step in the newest failed version.")
    error_category = models.CharField(max_length=40, blank=True)
    error_code = models.CharField(max_length=100, blank=True)
    message = models.TextField(blank=True, help_text="Normalised message.")
    state = models.CharField(max_length=20, choices=IncidentState.choices, default=IncidentState.NEW)
    state_since = models.DateTimeField(default=timezone.now)
    state_reason = models.CharField(max_length=500, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    owner_name = models.CharField(max_length=200, blank=True)
    snoozed_from = models.CharField(max_length=20, blank=True, help_text="State before the snooze.")
    snoozed_until = models.DateTimeField(null=True, blank=True)
    snoozed_for = models.PositiveIntegerField(null=True, blank=True, help_text="Failures left until the snooze ends.")
    resolved_in = models.PositiveIntegerField(null=True, blank=True, help_text="Version that resolves the incident.")
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged")
    split_from = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="splits")
    split_text = models.CharField(
        max_length=200, blank=True, help_text="Failures of `split_from` with this text in the message belong here."
    )
    run_count = models.PositiveIntegerField(
        default=0,
        help_text="Failed runs, with those of the merged incidents. A replay counts only if its cause is another one.",
    )
    first_version = models.PositiveIntegerField(default=0)
    last_version = models.PositiveIntegerField(default=0)
    first_failed_at = models.DateTimeField()
    last_failed_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "workflow_incidents"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="workflow_incidents_number"),
            models.UniqueConstraint(fields=["tenant", "fingerprint"], name="workflow_incidents_fingerprint"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "state", "-last_failed_at"],
                name="workflow_incidents_shown",
                condition=Q(merged_into__isnull=True),
            ),
            # The next two indexes do not begin with the tenant, because the task closes quiet incidents and ends
            # snoozes of all tenants.
            models.Index(
                fields=["last_failed_at"],
                name="workflow_incidents_quiet",
                condition=Q(merged_into__isnull=True) & ~Q(state=IncidentState.CLOSED.value),
            ),
            models.Index(
                fields=["snoozed_until"],
                name="workflow_incidents_snoozed",
                condition=Q(state=IncidentState.SNOOZED.value, snoozed_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"INC-{self.number}"

    @property
    def code(self) -> str:
        """Return the error code, or the category if the error has no code."""
        return self.error_code or self.error_category or "no error code"

    @property
    def is_others(self) -> bool:
        return self.message == self.OTHER_MESSAGES and self.split_from_id is None

    @property
    def step(self) -> str:
        return self.step_name or self.step_id or self.step_path

    @property
    def versions(self) -> str:
        """Return the versions that failed: `since version 2`, `version 1`, or `versions 1 to 3`."""
        if self.first_version > 1:
            return f"since version {self.first_version}"
        if self.last_version > self.first_version:
            return f"versions {self.first_version} to {self.last_version}"
        return f"version {self.first_version}"


class IncidentFailure(TenantRow):
    """One failure of one run, in the incident that was found for it.

    The row has no foreign key to the run, because the counts are kept longer than the run. A run that a reset in
    Temporal has reopened can fail again. It then has two rows.
    """

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="failures")
    run_id = models.UUIDField()
    failed_at = models.DateTimeField()
    version = models.PositiveIntegerField()
    origin_id = models.UUIDField(help_text="The run itself, or the first run of its chain of replays.")
    is_counted = models.BooleanField(
        help_text="False for a replay if its original is counted in the same incident already."
    )

    class Meta:
        db_table = "workflow_incident_failures"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "run_id", "failed_at"], name="workflow_incident_failures_once")
        ]
        indexes = [
            models.Index(fields=["tenant", "incident", "-failed_at"], name="workflow_incident_failures_new"),
            models.Index(fields=["tenant", "origin_id"], name="workflow_incident_failures_by"),
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.failed_at:%Y-%m-%d %H:%M:%S}"


class IncidentHour(TenantRow):
    """Number of counted failures of one incident in one hour (UTC) on one version."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="hours")
    hour = models.DateTimeField()
    version = models.PositiveIntegerField()
    failures = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "workflow_incident_hours"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "incident", "hour", "version"], name="workflow_incident_hours_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:00} {self.failures}"


class IncidentNote(TenantRow):
    """Note that a person wrote about an incident."""

    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="notes")
    author_name = models.CharField(max_length=200)
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "workflow_incident_notes"
        indexes = [models.Index(fields=["tenant", "incident", "-created_at"], name="workflow_incident_notes_new")]

    def __str__(self) -> str:
        return self.text[:60]


class IncidentCursor(TenantRow):
    """Position up to which the failed runs of a tenant have been read, and the last number of an incident.

    The lock on this row makes the writers of failures, merges and splits of one tenant take turns.
    """

    read_until = models.DateTimeField(
        null=True, blank=True, help_text="Time of writing (`projected_at`) of the newest failed run that was read."
    )
    last_number = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "workflow_incident_cursors"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="workflow_incident_cursors_once")]

    def __str__(self) -> str:
        return f"{self.read_until} INC-{self.last_number}"
