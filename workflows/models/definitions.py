"""Definitions and their immutable versions.

Source: docs/reference/language.md#storage-of-definitions
"""

from typing import Any

import pgtrigger
from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from workflows.json_numbers import read_stored_json
from workflows.models.fields import OrderedJSONField, TenantRow
from workflows.statuses import DefinitionState, SchemaMode, TriggerType

KEY_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"


class DefinitionManager(models.Manager["Definition"]):
    """Manager of the definitions that are not deleted.

    Runs of a deleted definition still reach its row, because relations use the base manager.
    """

    def get_queryset(self) -> models.QuerySet["Definition"]:
        return super().get_queryset().filter(deleted_at__isnull=True)


class Definition(TenantRow):
    """Workflow document with a key. The row has one draft and points to the published version that new runs use.

    The row of a deleted definition stays, because runs, deliveries and ledger rows refer to it. Its key is free again.
    """

    key = models.CharField(max_length=200, validators=[RegexValidator(KEY_PATTERN)])
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    draft_text = models.TextField(blank=True, help_text="Canonical text of the draft.")
    draft_version = models.PositiveIntegerField(
        default=0, help_text="Number of saves. A save that names an older number is refused."
    )
    published_version = models.ForeignKey(
        "workflows.DefinitionVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    payload_schema_ref = models.CharField(max_length=200, blank=True)
    payload_schema_mode = models.CharField(max_length=20, choices=SchemaMode.choices, default=SchemaMode.PINNED)
    pinned_payload_schema_ref = models.CharField(max_length=200, blank=True)
    foreign_id = models.CharField(
        max_length=200, blank=True, help_text="Id of the definition in the product that exported its bundle."
    )
    is_system = models.BooleanField(default=False)
    is_visible = models.BooleanField(default=True)
    is_paused = models.BooleanField(default=False)
    paused_reason = models.CharField(max_length=2000, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by_name = models.CharField(max_length=200, blank=True)
    is_auto_paused = models.BooleanField(default=False, help_text="The portal paused it, because too many runs failed.")
    failures_counted_from = models.DateTimeField(
        null=True, blank=True, help_text="Runs that were created earlier do not count towards the failure rate."
    )
    archived_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    owner = models.CharField(max_length=200, blank=True, help_text="Team or person that is responsible.")
    contact = models.CharField(max_length=200, blank=True, help_text="How to reach the owner.")
    runbook_url = models.CharField(max_length=500, blank=True, help_text="Link to the instructions for a failure.")
    concurrency_limit = models.PositiveIntegerField(null=True, blank=True)
    auto_pause_on_failure = models.BooleanField(default=False)
    failure_rate_threshold = models.FloatField(null=True, blank=True)
    failure_rate_min_runs = models.PositiveIntegerField(null=True, blank=True)
    retention_policy_override = OrderedJSONField(null=True, blank=True)
    concurrency = OrderedJSONField(
        null=True, blank=True, help_text="At most one open run per key: `{key, onConflict}`."
    )
    search_paths = OrderedJSONField(null=True, blank=True, help_text="Business data: [{path, type, label, currency}].")
    scenarios = OrderedJSONField(default=list, blank=True, help_text="Example runs with their expected results.")
    bundle_differences = OrderedJSONField(
        null=True, blank=True, help_text="Where the text of the imported bundle differs from an export."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DefinitionManager()

    class Meta:
        db_table = "workflow_definitions"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "key"], condition=Q(deleted_at__isnull=True), name="workflow_definitions_key"
            )
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def state(self) -> DefinitionState:
        if self.archived_at is not None:
            return DefinitionState.ARCHIVED
        if self.is_paused:
            return DefinitionState.PAUSED
        return DefinitionState.DRAFT if self.published_version_id is None else DefinitionState.PUBLISHED

    @property
    def concurrency_text(self) -> str:
        """Return the concurrency key and its effect as text for people, or an empty text."""
        rule = self.concurrency
        return f"{rule['key']['$expr']}: {rule['onConflict']}" if rule else ""

    def publish(self, version: "DefinitionVersion", document: dict[str, Any]) -> None:
        """Make a version the one that new runs use.

        Take name, description and schema from the document of this version.
        """
        self.published_version = version
        self.name = document["name"]
        self.description = document.get("description") or ""
        self.payload_schema_ref = document["payloadSchemaRef"]
        self.failures_counted_from = timezone.now()
        self.save()


class DefinitionVersion(TenantRow):
    """Published version of a definition.

    The engine reads the text of the version. A trigger refuses every update of the row.
    """

    definition = models.ForeignKey(Definition, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    canonical_text = models.TextField()
    definition_hash = models.CharField(max_length=64)
    trigger_type = models.CharField(max_length=20, choices=TriggerType.choices, default=TriggerType.MANUAL)
    trigger_event_name = models.CharField(max_length=200, blank=True)
    payload_schema_json = OrderedJSONField(null=True, blank=True)
    note = models.CharField(max_length=2000, blank=True, help_text="What the author wrote at the publication.")
    rolled_back_to = models.PositiveIntegerField(
        null=True, blank=True, help_text="Number of the older version that this version publishes again."
    )
    published_by_name = models.CharField(max_length=200, blank=True)
    published_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "workflow_definition_versions"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "definition", "version"], name="workflow_definition_versions_number"
            )
        ]
        indexes = [models.Index(fields=["tenant", "trigger_event_name"], name="workflow_versions_by_trigger")]
        triggers = [pgtrigger.Protect(name="immutable", operation=pgtrigger.Update)]

    def __str__(self) -> str:
        return f"{self.definition}@{self.version}"

    def document(self) -> dict[str, Any]:
        """Return the definition as JSON, with the keys in the order of the canonical text."""
        return read_stored_json(self.canonical_text)
