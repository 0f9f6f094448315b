from typing import Any

from rest_framework import serializers

from ingress.explain import place_tried, schema_told
from workflows.actors import Actor
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


class BatchResultSerializer(serializers.Serializer[None]):
    results = serializers.ListField(
        child=serializers.DictField(), help_text="For each event `status` with a receipt, or with `error`."
    )


# Not a serializer: fields named `source` and `data` would hide those that every serializer has.
CLOUD_EVENT = {
    "type": "object",
    "description": "A CloudEvent 1.0 in its JSON format; extension attributes stand beside these.",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string", "maxLength": 200},
        "data": {"type": "object"},
        "datacontenttype": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "dataschema": {"type": "string", "maxLength": 200},
        "subject": {"type": "string"},
        "workflowcorrelationkey": {"type": "string"},
    },
}


class DeliverySerializer(PayloadHidingSerializer):
    # The reason of a filtered event names the value that a filter met.
    payload_fields = ("reason", "attempt_log")
    definition = serializers.CharField(source="definition.key", default=None)

    class Meta:
        model = EventDelivery
        fields: tuple[str, ...] = (
            "id", "kind", "status", "reason", "run", "wait", "definition", "correlation_key", "attempts", "attempt_log",
            "next_attempt_at", "created_at", "sent_at", "decided_at",
        )  # fmt: skip


class DeliveryDetailSerializer(DeliverySerializer):
    event_id = serializers.CharField(source="event.event_id", help_text="The sender's id of the event.")
    event_type = serializers.CharField(source="event.event_type")

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "event", "event_id", "event_type", "failures", "held_since")


class RedeliverSerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.UUIDField(), allow_empty=False)
    dry_run = serializers.BooleanField(default=False, help_text="Say what would happen, and change nothing.")
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class DiscardSerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.UUIDField(), allow_empty=False)
    reason = serializers.CharField(max_length=2000)


class DeadLetterItemSerializer(serializers.Serializer[Any]):
    id = serializers.UUIDField()
    result = serializers.ChoiceField(["redelivered", "discarded", "would_redeliver", "refused"])
    code = serializers.CharField(allow_null=True)
    message = serializers.CharField(allow_null=True)
    command_id = serializers.UUIDField(required=False)
    forecast = serializers.DictField(required=False, help_text="Of a dry run: `{status, why}`.")


class DeadLetterResultSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    counts = serializers.DictField(child=serializers.IntegerField())
    results = DeadLetterItemSerializer(many=True)


class CorrelationWhatIfSerializer(serializers.Serializer[Any]):
    """The paths are checked by the service, which says what is wrong with them."""

    paths = serializers.JSONField(help_text='`{"EVENT": "path" or ["path", ...], "*": [...]}`')
    last = serializers.IntegerField(default=1000)


EVENT_FIELDS = (
    "id", "event_id", "event_type", "payload", "payload_schema_ref", "workflow_correlation_key", "attributes", "source", "sender",
    "occurred_at", "received_at", "correlation_status", "correlation_reason", "correlation_key", "correlation_keys",
    "outcome", "outcome_reason", "buffered_until", "routed_at",
)  # fmt: skip


class EventSerializer(PayloadHidingSerializer):
    payload_fields = ("payload", "attributes")
    correlation_key = serializers.SerializerMethodField()

    class Meta:
        model = Event
        fields: tuple[str, ...] = EVENT_FIELDS

    def get_correlation_key(self, event: Event) -> str | None:
        return event.correlation_key or None


class EventDetailSerializer(EventSerializer):
    redacted_fields = ("correlation_trace", "decision_trace")
    deliveries = DeliverySerializer(many=True)

    def to_representation(self, instance: Event) -> dict[str, Any]:
        """What does not fit a schema, and why a value is no key, are told with the value."""
        shown = super().to_representation(instance)
        actor: Actor | None = getattr(self.context.get("request"), "auth", None)
        if actor is not None and not actor.sees_payloads:
            trace = shown["decision_trace"]
            shown["correlation_trace"] = [place_tried(entry, False) for entry in shown["correlation_trace"]]
            shown["decision_trace"] = {
                **trace,
                **({"schema": schema_told(trace["schema"], False)} if "schema" in trace else {}),
            }
        return shown

    class Meta(EventSerializer.Meta):
        fields = (*EVENT_FIELDS, "correlation_trace", "decision_trace", "deliveries")
