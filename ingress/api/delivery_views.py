"""REST API of deliveries: lists, and the requests of the dead-letter inbox (redeliver and discard)."""

from functools import partial

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from ingress.api.serializers import (
    DeadLetterResultSerializer,
    DeliveryDetailSerializer,
    DiscardSerializer,
    RedeliverSerializer,
)
from ingress.dead_letters.services import deliveries_discard, deliveries_redeliver, require_deliveries_role
from workflows.api.bodies import read_body
from workflows.api.query import CheckedView, MomentFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import EventDelivery
from workflows.statuses import CommandAction, DeliveryKind, DeliveryStatus


class DeliveryFilter(django_filters.FilterSet):
    status = django_filters.MultipleChoiceFilter(choices=DeliveryStatus.choices, distinct=False)
    kind = django_filters.ChoiceFilter(choices=DeliveryKind.choices)
    event_id = django_filters.CharFilter(field_name="event__event_id", help_text="The sender's id of the event.")
    event = django_filters.UUIDFilter(field_name="event_id", help_text="The portal's id of the event.")
    run = django_filters.UUIDFilter(field_name="run_id")
    definition = django_filters.CharFilter(
        field_name="definition__key", help_text="The definition of a trigger delivery."
    )
    created_after = MomentFilter(field_name="created_at", lookup_expr="gte")
    created_before = MomentFilter(field_name="created_at", lookup_expr="lt")

    class Meta:
        model = EventDelivery
        fields: list[str] = []


class DeliveryList(TenantScoped, generics.ListAPIView):
    model = EventDelivery
    related = ("event", "definition")
    row_order = ("-created_at", "-id")
    serializer_class = DeliveryDetailSerializer
    filterset_class = DeliveryFilter


class DeliveryDetail(TenantScoped, generics.RetrieveAPIView):
    model = EventDelivery
    related = ("event", "definition")
    serializer_class = DeliveryDetailSerializer


class DeliveriesRedeliver(CheckedView):
    """Make dead deliveries pending again. The status is 200, even if deliveries are refused.

    Each id has its own result.
    """

    @extend_schema(
        request=RedeliverSerializer, responses={200: DeadLetterResultSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        check = partial(require_deliveries_role, actor=actor, action=CommandAction.REDELIVER)
        body = read_body(RedeliverSerializer, request, check)
        results = deliveries_redeliver(
            actor=actor,
            delivery_ids=body["ids"],
            dry_run=body["dry_run"],
            reason=body["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return Response(results)


class DeliveriesDiscard(CheckedView):
    @extend_schema(
        request=DiscardSerializer, responses={200: DeadLetterResultSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        check = partial(require_deliveries_role, actor=actor, action=CommandAction.DISCARD)
        body = read_body(DiscardSerializer, request, check)
        results = deliveries_discard(
            actor=actor,
            delivery_ids=body["ids"],
            reason=body["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return Response(results)
