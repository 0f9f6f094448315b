"""Serializers of definitions, their versions and their held starts (docs/reference/api.md#scope)."""

from typing import Any

from rest_framework import serializers

from workflows.models import Definition, DefinitionVersion, EventDelivery
from workflows.services.definitions.pause import starts_waiting
from workflows.statuses import HeldChoice


class DefinitionSerializer(serializers.ModelSerializer[Definition]):
    published_version = serializers.IntegerField(source="published_version.version", default=None)
    paused_by = serializers.CharField(source="paused_by_name", help_text="Empty if it is not paused.")

    class Meta:
        model = Definition
        fields: tuple[str, ...] = (
            "id", "key", "name", "description", "published_version", "draft_version", "payload_schema_ref", "is_paused",
            "paused_reason", "paused_at", "paused_by", "is_auto_paused", "archived_at", "owner", "contact",
            "runbook_url", "concurrency_limit", "auto_pause_on_failure", "failure_rate_threshold",
            "failure_rate_min_runs", "created_at", "updated_at",
        )  # fmt: skip


class DefinitionDetailSerializer(DefinitionSerializer):
    held_starts = serializers.SerializerMethodField(
        help_text="Number of event starts that wait for a resume or for a slot under the concurrency limit."
    )

    class Meta(DefinitionSerializer.Meta):
        fields = (*DefinitionSerializer.Meta.fields, "held_starts")

    def get_held_starts(self, definition: Definition) -> int:
        return starts_waiting(definition).count()


class VersionSerializer(serializers.ModelSerializer[DefinitionVersion]):
    definition = serializers.SerializerMethodField(help_text="Published text of the definition.")

    class Meta:
        model = DefinitionVersion
        fields = (
            "version", "definition_hash", "note", "rolled_back_to", "published_by_name", "published_at", "definition",
        )  # fmt: skip

    def get_definition(self, version: DefinitionVersion) -> dict[str, Any]:
        return version.document()


class HeldStartSerializer(serializers.ModelSerializer[EventDelivery]):
    """Start that waits for a resume or for a slot. `id` is the id of its delivery."""

    event_id = serializers.CharField(source="event.event_id", help_text="The sender's id of the event.")
    event_type = serializers.CharField(source="event.event_type")
    received_at = serializers.DateTimeField(source="event.received_at")
    version = serializers.IntegerField(source="definition_version.version", default=None)

    class Meta:
        model = EventDelivery
        fields = ("id", "event_id", "event_type", "received_at", "held_since", "reason", "version")


class ReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class ResumeSerializer(ReasonSerializer):
    held_starts = serializers.ChoiceField(
        choices=HeldChoice.choices,
        required=False,
        help_text="What happens to the held starts. Required if starts are held.",
    )
