"""REST API of bulk jobs: preview, steps of a job, and the result of each run (docs/reference/screens.md#run-list)."""

import uuid
from collections.abc import Callable
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body, role_first
from workflows.api.bulk_serializers import (
    BulkItemSerializer,
    BulkJobDetailSerializer,
    BulkJobSerializer,
    BulkRequestSerializer,
)
from workflows.api.query import CheckedView
from workflows.api.run_selection import runs_by_filters
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.serializers import CommandRequestSerializer
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import BulkItem, BulkJob
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.jobs import bulk_find, bulk_start, require_bulk_role
from workflows.services.bulk.preview import bulk_preview, require_bulk_preview_role
from workflows.statuses import BulkItemState, BulkState, CommandAction


class BulkJobFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(choices=BulkState.choices, distinct=False)
    action = django_filters.ChoiceFilter(choices=[(str(action), str(action)) for action in BULK_ACTIONS])

    class Meta:
        model = BulkJob
        fields: list[str] = []


class BulkItemFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(choices=BulkItemState.choices, distinct=False)
    code = django_filters.CharFilter()

    class Meta:
        model = BulkItem
        fields: list[str] = []


class BulkJobList(TenantScoped, generics.ListAPIView):
    """Return the bulk jobs of the tenant, newest first."""

    model = BulkJob
    row_order = ("-created_at", "-id")
    serializer_class = BulkJobSerializer
    filterset_class = BulkJobFilter

    @extend_schema(
        request=BulkRequestSerializer, responses={201: BulkJobDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        """Create a bulk job as a preview. The selected runs are frozen and counted.

        No run changes before the job is started.
        """
        actor = actor_of(self)
        body = read_body(BulkRequestSerializer, request, lambda: require_bulk_preview_role(actor=actor))
        action = CommandAction(body["action"])
        filters, all_runs = body.get("filters"), body["all_runs"]
        with role_first(lambda: require_bulk_preview_role(actor=actor, action=action)):
            runs = (
                None
                if filters is None
                else runs_by_filters(tenant_id=actor.tenant_id, filters=filters, all_runs=all_runs)
            )
        job = bulk_preview(
            actor=actor,
            action=action,
            runs=runs,
            ids=body.get("ids"),
            selection={"filters": filters},
            reason=body["reason"],
            rate_per_second=body["rate_per_second"],
            all_runs=all_runs,
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return Response(BulkJobDetailSerializer(job).data, status=status.HTTP_201_CREATED)


class BulkJobDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a bulk job and the number of its items in each state."""

    model = BulkJob
    serializer_class = BulkJobDetailSerializer


class BulkItemList(TenantScoped, generics.ListAPIView):
    """Return the items of a bulk job. Each item is the result for one run."""

    model = BulkItem
    related = ("command",)
    row_order = ("position", "id")
    serializer_class = BulkItemSerializer
    filterset_class = BulkItemFilter

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        return rows.filter(job=bulk_find(actor=actor_of(self), job_id=self.kwargs["pk"]))


class BulkStep(CheckedView):
    """Start, pause, resume or stop a bulk job. The response is the job."""

    step: Callable[..., BulkJob] = staticmethod(bulk_start)

    @extend_schema(
        request=CommandRequestSerializer, responses={202: BulkJobDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(CommandRequestSerializer, request, lambda: require_bulk_role(actor=actor, job_id=pk))
        job = self.step(
            actor=actor,
            job_id=pk,
            reason=body["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return Response(BulkJobDetailSerializer(job).data, status=status.HTTP_202_ACCEPTED)
