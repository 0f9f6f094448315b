"""Action ledger and in-app notifications (docs/reference/engine.md#actions)."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.statuses import InvocationStatus


class ActionInvocation(TenantRow):
    """One row of the action ledger: an action call with its idempotency key, status and output.

    Idempotency: one row per tenant, action, version and idempotency key. Retries, replays and restarts reuse the row.
    """

    run = models.ForeignKey(
        "workflows.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="invocations"
    )
    step_path = models.CharField(max_length=500, blank=True)
    iteration = models.CharField(max_length=200, blank=True)
    action_id = models.CharField(max_length=200)
    action_version = models.PositiveIntegerField()
    idempotency_key = models.CharField(max_length=1000)
    status = models.CharField(max_length=20, choices=InvocationStatus.choices, default=InvocationStatus.STARTED)
    executions = models.PositiveIntegerField(default=1, help_text="Number of times that the action's code was started.")
    input = OrderedJSONField(default=dict)
    output = OrderedJSONField(null=True, blank=True)
    error = OrderedJSONField(null=True, blank=True)
    owner = models.CharField(max_length=300, blank=True, help_text="Activity execution that holds the lease.")
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_action_invocations"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "action_id", "action_version", "idempotency_key"],
                name="workflow_action_invocations_key",
            )
        ]
        indexes = [
            models.Index(fields=["tenant", "run", "started_at"], name="workflow_invocations_of_run"),
            # The system health counts the newest calls by their action and status.
            models.Index(
                fields=["tenant", "-ended_at"],
                include=["action_id", "action_version", "status"],
                condition=models.Q(ended_at__isnull=False),
                name="workflow_invocations_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action_id}@{self.action_version} {self.status}"


class Notification(TenantRow):
    """Message in the portal for one tenant member, written by the action `notifications.send_in_app`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    run = models.ForeignKey(
        "workflows.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="notifications"
    )
    idempotency_key = models.CharField(max_length=1000)
    severity = models.CharField(max_length=20, default="info")
    title = models.CharField(max_length=300)
    body = models.TextField(blank=True)
    link = models.CharField(max_length=1000, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_notifications"
        verbose_name_plural = "my notifications"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "idempotency_key", "user"], name="workflow_notifications_once")
        ]
        indexes = [
            models.Index(fields=["tenant", "user", "-created_at"], name="workflow_notifications_inbox"),
            models.Index(fields=["tenant", "created_at"], name="workflow_notifications_by_age"),
        ]

    def __str__(self) -> str:
        return self.title
