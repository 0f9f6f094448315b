from typing import Any

from rest_framework import serializers

from ingress.catalogue import effective_buffer_seconds
from workflows.models import EventType
from workflows.services.references import Referred
from workflows.services.uses import uses_of


class EventTypeFieldsSerializer(serializers.Serializer[Any]):
    """OpenAPI documentation of an event type. The service checks the fields and reports all problems."""

    name = serializers.CharField(max_length=200, help_text="`*` sets the correlation paths of all events.")
    description = serializers.CharField(max_length=2000, required=False)
    correlation_paths = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        allow_null=True,
        help_text="Null: the paths in the environment variable of the portal apply.",
    )
    identity_paths = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        allow_null=True,
        help_text="Payload fields that make up the identity of an event. Null: the whole payload.",
    )
    identity_excluded_paths = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        allow_null=True,
        help_text="Payload fields that are not part of the identity, for example the time of sending.",
    )
    payload_schema_ref = serializers.CharField(max_length=200, required=False)
    buffer_seconds = serializers.FloatField(
        required=False, allow_null=True, help_text="Null: `EVENT_BUFFER_SECONDS` applies."
    )
    is_active = serializers.BooleanField(required=False, default=True)


class EventTypeSerializer(serializers.ModelSerializer[EventType]):
    effective_buffer_seconds = serializers.SerializerMethodField()

    class Meta:
        model = EventType
        fields: tuple[str, ...] = (
            "name", "description", "correlation_paths", "identity_paths", "identity_excluded_paths",
            "payload_schema_ref", "buffer_seconds", "effective_buffer_seconds", "is_active", "created_at", "updated_at",
        )  # fmt: skip

    def get_effective_buffer_seconds(self, row: EventType) -> float:
        return effective_buffer_seconds(row)


class EventTypeDetailSerializer(EventTypeSerializer):
    used_by = serializers.SerializerMethodField(
        help_text="Definitions that name the event: `{kind, name, where, version?, steps?}`."
    )

    class Meta(EventTypeSerializer.Meta):
        fields = (*EventTypeSerializer.Meta.fields, "used_by")

    def get_used_by(self, row: EventType) -> list[dict[str, Any]]:
        return [use.as_object() for use in uses_of(Referred.EVENT_TYPE, row.name, tenant_id=row.tenant_id)]
