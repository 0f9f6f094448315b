"""Serializers of definitions, their versions and their held starts (docs/reference/api.md#scope)."""

from typing import Any

from rest_framework import serializers

from workflows.api.bodies import KnownFieldsSerializer
from workflows.models import Definition, DefinitionVersion, EventDelivery
from workflows.services.definitions.pause import starts_waiting
from workflows.statuses import DefinitionState, HeldChoice


class DefinitionSerializer(serializers.ModelSerializer[Definition]):
    published_version = serializers.IntegerField(source="published_version.version", default=None)
    state = serializers.ChoiceField(choices=DefinitionState.choices, read_only=True)
    paused_by = serializers.CharField(source="paused_by_name", help_text="Empty if it is not paused.")

    class Meta:
        model = Definition
        fields: tuple[str, ...] = (
            "id", "key", "name", "description", "state", "published_version", "draft_version", "payload_schema_ref",
            "is_paused", "paused_reason", "paused_at", "paused_by", "is_auto_paused", "archived_at", "owner", "contact",
            "runbook_url", "concurrency_limit", "concurrency", "search_paths", "auto_pause_on_failure",
            "failure_rate_threshold", "failure_rate_min_runs", "created_at", "updated_at",
        )  # fmt: skip


class DefinitionDetailSerializer(DefinitionSerializer):
    held_starts = serializers.SerializerMethodField(
        help_text="Number of event starts that wait for a resume or for a slot under the concurrency limit."
    )

    class Meta(DefinitionSerializer.Meta):
        fields = (*DefinitionSerializer.Meta.fields, "held_starts")

    def get_held_starts(self, definition: Definition) -> int:
        return starts_waiting(definition).count()


class ProblemSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    severity = serializers.CharField(help_text="`error` or `warning`. Errors prevent publishing.")
    path = serializers.CharField(help_text="Path for people, for example `root.steps[2].config.state`.")
    step = serializers.CharField(help_text="Path of the step; empty outside of a step.")
    pointer = serializers.CharField(help_text="JSON pointer into the document.")
    line = serializers.IntegerField(
        help_text="Line in the validated text, from 1. Without a text: in the canonical text."
    )
    column = serializers.IntegerField(help_text="Column in characters, from 1.")
    message = serializers.CharField()
    suggestion = serializers.CharField(required=False)


class ProblemsSerializer(serializers.Serializer[Any]):
    valid = serializers.BooleanField(help_text="True if no problem is an error.")
    problems = ProblemSerializer(many=True)


class DraftSerializer(ProblemsSerializer):
    key = serializers.CharField()
    draft_version = serializers.IntegerField(help_text="Number of the draft. Send it with the next save.")
    document = serializers.JSONField()


class DraftSaveSerializer(KnownFieldsSerializer):
    draft_version = serializers.IntegerField(min_value=0, help_text="Number of the draft that was edited.")
    document = serializers.JSONField(allow_null=True, help_text="The definition.")


class DefinitionCreateSerializer(KnownFieldsSerializer):
    """Fields of a new definition. At most one origin is given: `document`, `example`, `copy_of` or `bundle`."""

    key = serializers.CharField(max_length=200)
    name = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
    document = serializers.JSONField(required=False, allow_null=True, default=None)
    example = serializers.CharField(required=False, default="", help_text="Name of an example.")
    copy_of = serializers.CharField(required=False, default="", max_length=200, help_text="Key of a definition.")
    copy_version = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=1,
        help_text="Version of the copied definition. Absent: its draft.",
    )
    bundle = serializers.JSONField(required=False, allow_null=True, default=None)
    bundle_key = serializers.CharField(
        required=False,
        default="",
        max_length=200,
        help_text="Key of the workflow. Required if the bundle has several workflows.",
    )


class SettingsSerializer(KnownFieldsSerializer):
    """Settings of a definition. Settings that are left out do not change. The service checks the values."""

    owner = serializers.JSONField(required=False, allow_null=True, help_text="Text of at most 200 characters.")
    contact = serializers.JSONField(required=False, allow_null=True, help_text="Text of at most 200 characters.")
    runbook_url = serializers.JSONField(required=False, allow_null=True, help_text="Web address, or an empty text.")
    concurrency_limit = serializers.JSONField(
        required=False, allow_null=True, help_text="Whole number above 0, or null."
    )
    concurrency = serializers.JSONField(
        required=False,
        allow_null=True,
        help_text="{key: expression, onConflict: skip, queue or cancelOldest}, or null.",
    )
    search_paths = serializers.JSONField(
        required=False,
        allow_null=True,
        help_text="Business data for filters and columns of the run list: [{path, type, label?, currency?}], or null.",
    )
    auto_pause_on_failure = serializers.JSONField(required=False, allow_null=True, help_text="True or false.")
    failure_rate_threshold = serializers.JSONField(
        required=False, allow_null=True, help_text="Above 0 and at most 1, or null."
    )
    failure_rate_min_runs = serializers.JSONField(
        required=False, allow_null=True, help_text="Whole number above 0, or null."
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class PublishSerializer(KnownFieldsSerializer):
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)
    draft_version = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=0,
        help_text="Refuse if the draft was saved since this version.",
    )


class ValidateSerializer(KnownFieldsSerializer):
    document = serializers.JSONField(required=False, allow_null=True, help_text="Absent: the draft.")


class ExampleSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    document = serializers.JSONField()


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


class ReasonSerializer(KnownFieldsSerializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class RollBackSerializer(ReasonSerializer):
    version = serializers.IntegerField(min_value=1, help_text="Version whose text is published again.")


class ResumeSerializer(ReasonSerializer):
    held_starts = serializers.ChoiceField(
        choices=HeldChoice.choices,
        required=False,
        help_text="What happens to the held starts. Required if starts are held.",
    )
