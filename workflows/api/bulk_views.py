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

from workflows.actors import Actor
from workflows.api.bodies import read_body, role_first
from workflows.api.bulk_serializers import (
    BulkItemSerializer,
    BulkJobDetailSerializer,
    BulkJobSerializer,
    BulkRequestSerializer,
    BulkStartSerializer,
)
from workflows.api.query import CheckedView
from workflows.api.run_selection import runs_by_filters
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.serializers import CommandRequestSerializer
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import BulkItem, BulkJob
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.services.bulk.jobs import bulk_find, bulk_pause, bulk_start, require_bulk_role
from workflows.services.bulk.preview import bulk_preview, require_bulk_preview_role
from workflows.services.bulk.results import bulk_preview_again, outcome_condition, with_run_status
from workflows.statuses import BulkItemState, BulkOutcome, BulkState, CommandAction, ReplayVersion


class BulkJobFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(choices=BulkState.choices, distinct=False)
    action = django_filters.ChoiceFilter(choices=[(str(action), str(action)) for action in BULK_ACTIONS])

    class Meta:
        model = BulkJob
        fields: list[str] = []


class BulkItemFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(choices=BulkItemState.choices, distinct=False)
    code = django_filters.CharFilter()
    outcome = django_filters.ChoiceFilter(choices=BulkOutcome.choices, method="of_outcome")

    def of_outcome(self, rows: QuerySet[BulkItem], name: str, outcome: str) -> QuerySet[BulkItem]:
        job = rows.first()
        return rows.filter(outcome_condition(job.job.action, outcome)) if job is not None else rows

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
        key = request.headers.get("Idempotency-Key", "")
        if "job" in body:
            return _created(_preview_again(actor, body, key))
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
            replay_version=body.get("version", ReplayVersion.PINNED),
            allow_another_run=body["allow_another_run"],
            idempotency_key=key,
        )
        return _created(job)


def _preview_again(actor: Actor, body: dict[str, Any], idempotency_key: str) -> BulkJob:
    return bulk_preview_again(
        actor=actor,
        job_id=body["job"],
        outcome=body.get("outcome", ""),
        replay_version=body.get("version"),
        allow_another_run=body["allow_another_run"],
        reason=body["reason"],
        rate_per_second=body["rate_per_second"],
        idempotency_key=idempotency_key,
    )


def _created(job: BulkJob) -> Response:
    return Response(BulkJobDetailSerializer(job).data, status=status.HTTP_201_CREATED)


class BulkJobDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a bulk job and the number of its items in each state."""

    model = BulkJob
    serializer_class = BulkJobDetailSerializer


class BulkItemList(TenantScoped, generics.ListAPIView):
    """Return the items of a bulk job. Each item is the result for one run."""

    model = BulkItem
    related = ("command", "job")
    row_order = ("position", "id")
    serializer_class = BulkItemSerializer
    filterset_class = BulkItemFilter

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        job = bulk_find(actor=actor_of(self), job_id=self.kwargs["pk"])
        return with_run_status(rows.filter(job=job), job)


class BulkStep(CheckedView):
    """Pause, resume or stop a bulk job, or repeat its failed requests. The response is the job."""

    step: Callable[..., BulkJob] = staticmethod(bulk_pause)

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


class BulkStart(CheckedView):
    """Start a bulk job. The response is the job."""

    @extend_schema(
        request=BulkStartSerializer, responses={202: BulkJobDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(BulkStartSerializer, request, lambda: require_bulk_role(actor=actor, job_id=pk))
        job = bulk_start(actor=actor, job_id=pk, idempotency_key=request.headers.get("Idempotency-Key", ""), **body)
        return Response(BulkJobDetailSerializer(job).data, status=status.HTTP_202_ACCEPTED)
