from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from ingress.explain.trace import SHOWN_ROWS, decision_trace_shown, deliveries_shown, delivery_counts
from workflows.actors import Actor
from workflows.api.serializers import PayloadHidingSerializer, request_rules
from workflows.event_redaction import EventRedaction
from workflows.models import Event, EventDelivery
from workflows.redaction import redact


class EventSubmissionSerializer(serializers.Serializer[None]):
    """OpenAPI documentation of one event. A batch is `{"events": [...]}`. The intake checks the fields."""

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
    correlation_reason = serializers.CharField(
        allow_null=True, help_text="The reason why the event has no key; null if it has one."
    )
    outcome = serializers.CharField()
    duplicate = serializers.BooleanField()


class BatchResultSerializer(serializers.Serializer[None]):
    results = serializers.ListField(
        child=serializers.DictField(), help_text="For each event: `status`, and the receipt or `error`."
    )


# This is not a serializer, because fields named `source` and `data` would hide attributes of the serializer class.
CLOUD_EVENT = {
    "type": "object",
    "description": "A CloudEvent 1.0 in the JSON format. Extension attributes are further properties.",
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


class EventRedactingSerializer(PayloadHidingSerializer):
    """Serializer that redacts payload values with the tenant's rules (see `EventRedaction`)."""

    def redaction(self, event: Event) -> EventRedaction:
        request = self.context.get("request")
        return EventRedaction(event, request_rules(request, getattr(request, "auth", None)))


class DeliverySerializer(EventRedactingSerializer):
    # The reason of a filtered event contains the value that the filter tested.
    payload_fields = ("reason", "attempt_log")
    related_payloads = ("event__payload",)
    definition = serializers.CharField(source="definition.key", default=None)

    class Meta:
        model = EventDelivery
        fields: tuple[str, ...] = (
            "id", "kind", "status", "reason", "run", "wait", "definition", "correlation_key", "attempts", "attempt_log",
            "next_attempt_at", "created_at", "sent_at", "decided_at",
        )  # fmt: skip

    def to_representation(self, instance: EventDelivery) -> dict[str, Any]:
        shown = super().to_representation(instance)
        redaction = self.context.get("redaction") or self.redaction(instance.event)
        shown["correlation_key"] = redaction.key(shown["correlation_key"])
        if "reason" in shown:  # the reader may see payloads
            texts = {
                "reason": redaction.delivery_reason(instance),
                "attempt_log": redaction.attempts(instance.attempt_log),
            }
            shown.update(redact(texts, redaction.rules))
        return shown


class DeliveryDetailSerializer(DeliverySerializer):
    event_id = serializers.CharField(source="event.event_id", help_text="The sender's id of the event.")
    event_type = serializers.CharField(source="event.event_type")

    class Meta(DeliverySerializer.Meta):
        fields = (*DeliverySerializer.Meta.fields, "event", "event_id", "event_type", "failures", "held_since")


class RedeliverSerializer(serializers.Serializer[Any]):
    ids = serializers.ListField(child=serializers.UUIDField(), allow_empty=False)
    dry_run = serializers.BooleanField(default=False, help_text="Return a forecast and change nothing.")
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
    forecast = serializers.DictField(required=False, help_text="Only in a dry run: `{status, why}`.")


class DeadLetterResultSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    counts = serializers.DictField(child=serializers.IntegerField())
    results = DeadLetterItemSerializer(many=True)


class CorrelationWhatIfSerializer(serializers.Serializer[Any]):
    """Request that compares other correlation paths with the current paths. The service checks the paths."""

    paths = serializers.JSONField(help_text='`{"EVENT": "path" or ["path", ...], "*": [...]}`')
    last = serializers.IntegerField(default=1000)


EVENT_FIELDS = (
    "id", "event_id", "event_type", "payload", "payload_schema_ref", "workflow_correlation_key", "attributes", "source",
    "sender", "sender_type", "occurred_at", "received_at", "correlation_status", "correlation_reason",
    "correlation_key", "correlation_keys", "outcome", "outcome_code", "outcome_reason", "buffered_until", "routed_at",
)  # fmt: skip


class EventSerializer(EventRedactingSerializer):
    payload_fields = ("payload", "attributes")
    correlation_key = serializers.SerializerMethodField()

    class Meta:
        model = Event
        fields: tuple[str, ...] = EVENT_FIELDS

    def get_correlation_key(self, event: Event) -> str | None:
        return event.correlation_key or None

    def to_representation(self, instance: Event) -> dict[str, Any]:
        shown = super().to_representation(instance)
        redaction = self.redaction(instance)
        for name in ("correlation_key", "workflow_correlation_key"):
            shown[name] = redaction.key(shown[name])
        shown["correlation_keys"] = redaction.keys(shown["correlation_keys"])
        shown |= {"outcome": instance.shown_outcome, "outcome_reason": redaction.reason(instance.shown_reason)}
        return shown


class EventDetailSerializer(EventSerializer):
    deliveries = serializers.SerializerMethodField(
        help_text=f"At most {SHOWN_ROWS}, some of each status. `GET /deliveries?event=` returns all."
    )
    delivery_counts = serializers.SerializerMethodField(help_text="The number of all deliveries by status.")

    class Meta(EventSerializer.Meta):
        fields = (*EVENT_FIELDS, "correlation_trace", "decision_trace", "deliveries", "delivery_counts")

    @extend_schema_field(DeliverySerializer(many=True))
    def get_deliveries(self, event: Event) -> list[dict[str, Any]]:
        rows = list(deliveries_shown(event.tenant_id, event).select_related("definition"))
        context = {**self.context, "redaction": self.redaction(event)}
        return list(DeliverySerializer(rows, many=True, context=context).data)

    def get_delivery_counts(self, event: Event) -> dict[str, int]:
        return delivery_counts(event.tenant_id, event)

    def to_representation(self, instance: Event) -> dict[str, Any]:
        """Redact the traces. Show the details of a schema problem only to a reader who may see payloads."""
        shown = super().to_representation(instance)
        actor: Actor | None = getattr(self.context.get("request"), "auth", None)
        sees_payloads = actor is None or actor.sees_payloads
        redaction = self.redaction(instance)
        traces = {
            "correlation_trace": [redaction.place(entry) for entry in instance.correlation_trace],
            "decision_trace": decision_trace_shown(redaction.trace(instance.decision_trace), sees_payloads),
        }
        shown.update(redact(traces, redaction.rules))
        return shown
