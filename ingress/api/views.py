"""REST entry point for events, and views that return stored events."""

import uuid
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from ingress.api.serializers import (
    CLOUD_EVENT,
    BatchResultSerializer,
    EventDetailSerializer,
    EventSerializer,
    EventSubmissionSerializer,
    ReceiptSerializer,
)
from ingress.api.submissions import (
    CloudEventBatchParser,
    CloudEventDataParser,
    CloudEventParser,
    is_in_binary_mode,
    read_event_submission,
)
from ingress.intake.receive import Receipt, events_receive
from workflows.api.parsers import StrictJsonParser
from workflows.api.query import MomentFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.errors import NotFound, PortalError
from workflows.event_outcomes import has_outcome
from workflows.models import Event
from workflows.statuses import CorrelationStatus, EventOutcome, EventSource, Role


class EventFilter(django_filters.FilterSet):
    event_type = django_filters.CharFilter()
    event_id = django_filters.CharFilter()
    outcome = django_filters.MultipleChoiceFilter(choices=EventOutcome.choices, method="of_outcome")
    correlation_status = django_filters.ChoiceFilter(choices=CorrelationStatus.choices)
    correlation_key = django_filters.CharFilter(field_name="keys__key")
    received_after = MomentFilter(field_name="received_at", lookup_expr="gte")
    received_before = MomentFilter(field_name="received_at", lookup_expr="lt")

    class Meta:
        model = Event
        fields: list[str] = []

    def of_outcome(self, events: QuerySet[Event], name: str, outcomes: list[str]) -> QuerySet[Event]:
        return events.filter(has_outcome(*outcomes)) if outcomes else events


class EventList(TenantScoped, generics.ListAPIView):
    model = Event
    row_order = ("-received_at", "-id")
    serializer_class = EventSerializer
    filterset_class = EventFilter
    parser_classes = (StrictJsonParser, CloudEventParser, CloudEventBatchParser)

    def get_parsers(self) -> list[BaseParser]:
        if self.request is not None and is_in_binary_mode(self.request):  # None while the OpenAPI schema is generated
            return [CloudEventDataParser()]
        return super().get_parsers()

    @extend_schema(
        request={
            StrictJsonParser.media_type: EventSubmissionSerializer,
            CloudEventParser.media_type: CLOUD_EVENT,
            CloudEventBatchParser.media_type: {"type": "array", "items": CLOUD_EVENT},
        },
        responses={202: ReceiptSerializer, 200: ReceiptSerializer, 207: BatchResultSerializer},
    )
    def post(self, request: Request) -> Response:
        """Receive one event or a batch, in the portal's format or as CloudEvents 1.0.

        The response to a batch has one result per event, in the order of the batch.
        """
        actor = actor_of(self)
        actor.require(Role.OPERATOR, to="send events")
        submission = read_event_submission(request)
        results = events_receive(
            tenant_id=actor.tenant_id, values=submission.values, source=EventSource.REST, sender=actor
        )
        if submission.is_batch:
            return Response({"results": [result_body(result) for result in results]}, status=207)
        (result,) = results
        if isinstance(result, PortalError):
            raise result
        return Response(receipt_body(result), status=_status(result))


class EventDetail(TenantScoped, generics.RetrieveAPIView):
    """Return one event. The id in the URL is the portal's id or the sender's event id."""

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
            raise NotFound(
                f"There is no event {name}. Check the id and the tenant of the token.", code="EVENT_NOT_FOUND"
            )
        return found


def result_body(result: Receipt | PortalError) -> dict[str, Any]:
    """Return the result of one event of a batch.

    Its status is the HTTP status that a request with only this event would get.
    """
    if isinstance(result, PortalError):
        return {"status": result.status, **result.as_body()}
    return {"status": _status(result), **receipt_body(result)}


def _status(receipt: Receipt) -> int:
    return 200 if receipt.is_duplicate else 202


def receipt_body(receipt: Receipt) -> dict[str, Any]:
    event = receipt.event
    return {
        "id": str(event.id),
        "event_id": event.event_id,
        "event_type": event.event_type,
        "correlation_key": event.correlation_key or None,
        "correlation_status": event.correlation_status,
        "correlation_reason": event.correlation_reason or None,
        "outcome": event.shown_outcome,
        "duplicate": receipt.is_duplicate,
    }
