"""Serializers of incidents and of the requests that change them."""

from typing import Any

from rest_framework import serializers

from workflows.api.bodies import KnownFieldsSerializer
from workflows.api.serializers import PayloadHidingSerializer
from workflows.models import Incident, IncidentNote
from workflows.redaction import Rules, redact
from workflows.selectors.incident_page import IncidentPage, incident_page
from workflows.services.incidents.change import MAX_NOTE_LENGTH, MAX_SNOOZED_FAILURES
from workflows.services.incidents.combine import MAX_TEXT, MIN_TEXT
from workflows.statuses import ReplayVersion


class IncidentNoteSerializer(serializers.ModelSerializer[IncidentNote]):
    author = serializers.CharField(source="author_name")

    class Meta:
        model = IncidentNote
        fields = ("id", "author", "text", "created_at")


class IncidentSerializer(PayloadHidingSerializer):
    redacted_fields = ("message",)

    definition = serializers.CharField(source="definition.key")
    owner = serializers.CharField(source="owner_name")
    versions = serializers.CharField(help_text="For example `since version 2`.")
    merged_into = serializers.IntegerField(
        source="merged_into.number", default=None, help_text="Number of the incident that shows these failures."
    )
    split_from = serializers.IntegerField(source="split_from.number", default=None)

    def redacted(self, instance: Any, name: str, value: Any, rules: Rules) -> Any:
        if name == "message":
            return redact({name: value}, rules, at="/error")[name]
        return super().redacted(instance, name, value, rules)

    class Meta:
        model = Incident
        fields: tuple[str, ...] = (
            "id", "number", "definition", "step_id", "step_name", "step_path", "error_category", "error_code",
            "message", "state", "state_since", "state_reason", "owner", "snoozed_until", "snoozed_for", "resolved_in",
            "run_count", "versions", "first_version", "last_version", "first_failed_at", "last_failed_at",
            "merged_into", "split_from", "split_text",
        )  # fmt: skip


class IncidentHourSerializer(serializers.Serializer[Any]):
    begin = serializers.DateTimeField()
    failures = serializers.IntegerField()


class IncidentVersionSerializer(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    published_at = serializers.DateTimeField()
    closed = serializers.IntegerField(help_text="Closed runs without replays, among the newest of the definition.")
    open = serializers.IntegerField()
    failed = serializers.IntegerField(help_text="Failures of this incident.")


class IncidentDetailSerializer(IncidentSerializer):
    hours = serializers.SerializerMethodField(help_text="Failures in each of the last 24 hours.")
    by_version = serializers.SerializerMethodField(help_text="The newest versions of the definition.")
    notes = serializers.SerializerMethodField(help_text="The newest notes.")
    merged = serializers.SerializerMethodField(help_text="Numbers of the incidents that are merged into this one.")

    class Meta(IncidentSerializer.Meta):
        fields = (*IncidentSerializer.Meta.fields, "hours", "by_version", "notes", "merged")

    def _page(self, incident: Incident) -> IncidentPage:
        pages = self.context.setdefault("pages", {})  # type: ignore[attr-defined]
        if incident.id not in pages:
            pages[incident.id] = incident_page(incident)
        page: IncidentPage = pages[incident.id]
        return page

    def get_hours(self, incident: Incident) -> list[dict[str, Any]]:
        return list(IncidentHourSerializer(self._page(incident).failures.hours, many=True).data)

    def get_by_version(self, incident: Incident) -> list[dict[str, Any]]:
        return list(IncidentVersionSerializer(self._page(incident).failures.versions, many=True).data)

    def get_notes(self, incident: Incident) -> list[dict[str, Any]]:
        return list(IncidentNoteSerializer(self._page(incident).notes, many=True).data)

    def get_merged(self, incident: Incident) -> list[int]:
        return [merged.number for merged in self._page(incident).merged]


# -- Requests ----------------------------------------------------------------------------------------------------------


class IncidentReasonSerializer(KnownFieldsSerializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class IncidentOwnSerializer(KnownFieldsSerializer):
    username = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        default=None,
        help_text="A member. Without it, the caller. An empty text removes the owner.",
    )


class IncidentSnoozeSerializer(IncidentReasonSerializer):
    until = serializers.DateTimeField(required=False, allow_null=True, default=None)
    failures = serializers.IntegerField(
        required=False,
        allow_null=True,
        default=None,
        min_value=1,
        max_value=MAX_SNOOZED_FAILURES,
        help_text="The snooze ends when so many further runs have failed.",
    )


class IncidentResolveSerializer(IncidentReasonSerializer):
    version = serializers.IntegerField(
        min_value=1, max_value=2**31 - 1, help_text="Version that resolves the incident."
    )


class IncidentNoteRequestSerializer(KnownFieldsSerializer):
    text = serializers.CharField(max_length=MAX_NOTE_LENGTH)


class IncidentMergeSerializer(IncidentReasonSerializer):
    into = serializers.IntegerField(min_value=1, max_value=2**31 - 1, help_text="Number of the other incident.")


class IncidentSplitSerializer(IncidentReasonSerializer):
    text = serializers.CharField(
        min_length=MIN_TEXT, max_length=MAX_TEXT, help_text="Text that the messages of these failures contain."
    )


class IncidentReplaySerializer(IncidentReasonSerializer):
    version = serializers.ChoiceField(choices=ReplayVersion.choices, default=ReplayVersion.PUBLISHED)
