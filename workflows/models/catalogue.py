"""Event catalogue and payload schemas (docs/reference/events.md#correlation)."""

from django.db import models
from django.utils import timezone

from workflows.models.fields import TenantRow


class EventType(TenantRow):
    """Entry of the event catalogue.

    For events of this type, the correlation paths of the entry replace the paths from the environment.
    """

    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    correlation_paths = models.JSONField(null=True, blank=True, help_text="Dotted paths into the payload, in order.")
    identity_paths = models.JSONField(
        null=True, blank=True, help_text="Dotted paths into the payload. Only they make up an event's identity."
    )
    identity_excluded_paths = models.JSONField(
        null=True, blank=True, help_text="Dotted paths into the payload that are not part of an event's identity."
    )
    payload_schema_ref = models.CharField(max_length=200, blank=True)
    buffer_seconds = models.FloatField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_event_types"
        verbose_name_plural = "event catalogue"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="workflow_event_types_name"),
            models.CheckConstraint(
                condition=models.Q(buffer_seconds__isnull=True) | models.Q(buffer_seconds__gt=0),
                name="workflow_event_types_buffer_not_zero",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class PayloadSchema(TenantRow):
    """JSON Schema 2020-12 with a name. Definitions and event types refer to it by this name."""

    ref = models.CharField(max_length=200)
    title = models.CharField(max_length=200, blank=True)
    schema = models.JSONField()
    is_placeholder = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_schemas"
        constraints = [models.UniqueConstraint(fields=["tenant", "ref"], name="workflow_schemas_ref")]

    def __str__(self) -> str:
        return self.ref
