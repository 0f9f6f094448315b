"""The REST door for events, and events as they were stored."""

import uuid
from typing import Any

import django_filters
from django.conf import settings
from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from ingress.api.serializers import (
    EventDetailSerializer,
    EventSerializer,
    EventSubmissionSerializer,
    ReceiptSerializer,
)
from ingress.services import Receipt, event_receive
from workflows.actors import Actor
from workflows.api.scope import TenantScoped, actor_of
from workflows.errors import InputInvalid, NotFound, PortalError
from workflows.models import Event
from workflows.statuses import CorrelationStatus, EventOutcome, EventSource, Role


class EventFilter(django_filters.FilterSet):
    event_type = django_filters.CharFilter()
    event_id = django_filters.CharFilter()
    outcome = django_filters.MultipleChoiceFilter(choices=EventOutcome.choices, distinct=False)
    correlation_status = django_filters.ChoiceFilter(choices=CorrelationStatus.choices)
    correlation_key = django_filters.CharFilter(field_name="keys__key")
    received_after = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="gte")
    received_before = django_filters.IsoDateTimeFilter(field_name="received_at", lookup_expr="lt")

    class Meta:
        model = Event
        fields: list[str] = []


class EventList(TenantScoped, generics.ListAPIView):
    model = Event
    newest_first = ("-received_at", "-id")
    serializer_class = EventSerializer
    filterset_class = EventFilter

    @extend_schema(request=EventSubmissionSerializer, responses={202: ReceiptSerializer, 200: ReceiptSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        actor.require(Role.OPERATOR, to="send events")
        if isinstance(request.data, dict) and "events" in request.data:
            return _receive_batch(actor, request.data)
        receipt = _receive(actor, request.data)
        return Response(receipt_body(receipt), status=200 if receipt.is_duplicate else 202)


class EventDetail(TenantScoped, generics.RetrieveAPIView):
    """By the portal's id, or by the sender's event id."""

    model = Event
    serializer_class = EventDetailSerializer

    def get_object(self) -> Event:
        name = self.kwargs["name"]
        rows = self.get_queryset()
        try:
            found = rows.filter(Q(id=uuid.UUID(name)) | Q(event_id=name, occupies_id=True)).first()
        except ValueError:
            found = rows.filter(event_id=name, occupies_id=True).first()
        if found is None:
            raise NotFound(f"there is no event {name}", code="EVENT_NOT_FOUND")
        return found


def _receive(actor: Actor, value: Any) -> Receipt:
    return event_receive(tenant_id=actor.tenant_id, value=value, source=EventSource.REST, sender=actor.name)


def _receive_batch(actor: Actor, body: dict[str, Any]) -> Response:
    """207: each event has its own status and result, in the order of the batch."""
    events = body["events"]
    if set(body) != {"events"} or not isinstance(events, list) or not events:
        raise InputInvalid(
            'a batch is {"events": [...]} with at least one event and nothing else', code="EVENT_INVALID"
        )
    if len(events) > settings.EVENT_BATCH_MAX:
        raise InputInvalid(
            f"a batch holds at most {settings.EVENT_BATCH_MAX} events, this one {len(events)}",
            code="EVENT_BATCH_TOO_LARGE",
        )
    return Response({"results": [_batch_result(actor, event) for event in events]}, status=207)


def _batch_result(actor: Actor, value: Any) -> dict[str, Any]:
    try:
        receipt = _receive(actor, value)
    except PortalError as error:
        return {"status": error.status, **error.as_body()}
    return {"status": 200 if receipt.is_duplicate else 202, **receipt_body(receipt)}


def receipt_body(receipt: Receipt) -> dict[str, Any]:
    event = receipt.event
    return {
        "id": str(event.id),
        "event_id": event.event_id,
        "event_type": event.event_type,
        "correlation_key": event.correlation_key or None,
        "correlation_status": event.correlation_status,
        "correlation_reason": event.correlation_reason or None,
        "outcome": event.outcome,
        "duplicate": receipt.is_duplicate,
    }
