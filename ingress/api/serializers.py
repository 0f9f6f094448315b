from rest_framework import serializers

from workflows.api.serializers import PayloadHidingSerializer
from workflows.models import Event, EventDelivery


class EventSubmissionSerializer(serializers.Serializer[None]):
    """One event; a batch is `{"events": [...]}`. Checked by the ingress service, this is its documentation."""

    event_type = serializers.CharField(max_length=200)
    payload = serializers.JSONField()
    event_id = serializers.CharField(max_length=200, required=False)
    workflow_correlation_key = serializers.CharField(max_length=1000, required=False)
    payload_schema_ref = serializers.CharField(max_length=200, required=False)
    occurred_at = serializers.DateTimeField(required=False)


class ReceiptSerializer(serializers.Serializer[None]):
    id = serializers.UUIDField()
    event_id = serializers.CharField()
    event_type = serializers.CharField()
    correlation_key = serializers.CharField(allow_null=True)
    correlation_status = serializers.CharField()
    outcome = serializers.CharField()
    duplicate = serializers.BooleanField()


class DeliverySerializer(PayloadHidingSerializer):
    # The reason of a filtered event names the value that a filter met.
    payload_fields = ("reason", "attempt_log")
    definition = serializers.CharField(source="definition.key", default=None)

    class Meta:
        model = EventDelivery
        fields = (
            "id", "kind", "status", "reason", "run", "wait", "definition", "correlation_key", "attempts", "attempt_log",
            "next_attempt_at", "created_at", "sent_at", "decided_at",
        )  # fmt: skip


EVENT_FIELDS = (
    "id", "event_id", "event_type", "payload", "payload_schema_ref", "workflow_correlation_key", "source", "sender",
    "occurred_at", "received_at", "correlation_status", "correlation_reason", "correlation_key", "correlation_keys",
    "outcome", "outcome_reason", "buffered_until", "routed_at",
)  # fmt: skip


class EventSerializer(PayloadHidingSerializer):
    payload_fields = ("payload",)
    correlation_key = serializers.SerializerMethodField()

    class Meta:
        model = Event
        fields: tuple[str, ...] = EVENT_FIELDS

    def get_correlation_key(self, event: Event) -> str | None:
        return event.correlation_key or None


class EventDetailSerializer(EventSerializer):
    deliveries = DeliverySerializer(many=True)

    class Meta(EventSerializer.Meta):
        fields = (*EVENT_FIELDS, "correlation_trace", "decision_trace", "deliveries")
