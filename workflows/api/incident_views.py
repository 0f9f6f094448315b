"""REST API of incidents (docs/reference/incidents.md)."""

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from workflows.api.bodies import read_body
from workflows.api.bulk_serializers import BulkJobDetailSerializer
from workflows.api.incident_serializers import (
    IncidentDetailSerializer,
    IncidentMergeSerializer,
    IncidentNoteRequestSerializer,
    IncidentOwnSerializer,
    IncidentReasonSerializer,
    IncidentReplaySerializer,
    IncidentResolveSerializer,
    IncidentSerializer,
    IncidentSnoozeSerializer,
    IncidentSplitSerializer,
)
from workflows.api.query import CheckedView, WholeNumberFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Incident
from workflows.selectors.incident_page import notes_and_merged
from workflows.services.idempotency import CommandRepeated
from workflows.services.incidents import change, combine
from workflows.services.incidents.find import incident_find
from workflows.services.incidents.replay import incident_replay_preview
from workflows.statuses import IncidentState

RELATED = ("definition", "merged_into", "split_from")
UNREAD = ("definition__draft_text",)


class IncidentFilter(django_filters.FilterSet):
    state = django_filters.MultipleChoiceFilter(choices=IncidentState.choices, distinct=False)
    definition = django_filters.CharFilter(field_name="definition__key")
    number = WholeNumberFilter()
    error_code = django_filters.CharFilter()
    owner = django_filters.CharFilter(field_name="owner__username", help_text="User name of the owner.")

    class Meta:
        model = Incident
        fields: list[str] = []


class IncidentList(TenantScoped, generics.ListAPIView):
    """Return the incidents of the tenant, the newest failure first. Merged incidents are left out."""

    model = Incident
    related = RELATED
    unread = UNREAD
    row_order = ("-last_failed_at", "-id")
    serializer_class = IncidentSerializer
    filterset_class = IncidentFilter

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(merged_into__isnull=True)


class IncidentDetail(TenantScoped, generics.RetrieveAPIView):
    """Return an incident with its failures per hour and version, and its notes."""

    model = Incident
    related = RELATED
    unread = UNREAD
    serializer_class = IncidentDetailSerializer

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().annotate(**notes_and_merged())


class IncidentChange(CheckedView):
    # The response of a change is the incident. No run changes.

    def change(
        self, request: Request, pk: uuid.UUID, body: type[Serializer[Any]], service: Callable[..., Any]
    ) -> Response:
        actor = actor_of(self)
        values = read_body(body, request, lambda: change.require_incident_role(actor=actor, incident_id=pk))
        key = request.headers.get("Idempotency-Key", "")
        changed: Any = None
        with suppress(CommandRepeated):
            changed = service(actor=actor, incident_id=pk, idempotency_key=key, **values)
        shown = incident_find(actor=actor, incident_id=changed.id if isinstance(changed, Incident) else pk)
        return Response(IncidentSerializer(shown, context={"request": request}).data)


def _change(body: type[Serializer[Any]]) -> Any:
    return extend_schema(request=body, responses={200: IncidentSerializer}, parameters=[IDEMPOTENCY_HEADER])


class IncidentOwn(IncidentChange):
    """Give an incident an owner. A new or regressed incident becomes open."""

    @_change(IncidentOwnSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentOwnSerializer, change.incident_own)


class IncidentSnooze(IncidentChange):
    """Snooze an incident until a time, until a number of further runs has failed, or until the first of both."""

    @_change(IncidentSnoozeSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentSnoozeSerializer, change.incident_snooze)


class IncidentResolve(IncidentChange):
    """Mark an incident as resolved in a version. It regresses if a run on this version or a newer one fails later."""

    @_change(IncidentResolveSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentResolveSerializer, change.incident_resolve)


class IncidentReopen(IncidentChange):
    """End the snooze of an incident, or take back that it is resolved or closed."""

    @_change(IncidentReasonSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentReasonSerializer, change.incident_reopen)


class IncidentClose(IncidentChange):
    """Close an incident. A later failure opens it again."""

    @_change(IncidentReasonSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentReasonSerializer, change.incident_close)


class IncidentMerge(IncidentChange):
    """Merge an incident into another incident of the same definition. The response is the other incident."""

    @_change(IncidentMergeSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentMergeSerializer, combine.incident_merge)


class IncidentSeparate(IncidentChange):
    """Take an incident out of the incident into which it was merged."""

    @_change(IncidentReasonSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentReasonSerializer, combine.incident_separate)


class IncidentSplit(IncidentChange):
    """Split failures whose message contains a text into a new incident. The response is the new incident."""

    @_change(IncidentSplitSerializer)
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.change(request, pk, IncidentSplitSerializer, combine.incident_split)


class IncidentNotes(IncidentChange):
    """Add a note to an incident. The response is the incident with its notes."""

    @extend_schema(
        request=IncidentNoteRequestSerializer,
        responses={200: IncidentDetailSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        self.change(request, pk, IncidentNoteRequestSerializer, change.incident_note)
        shown = incident_find(actor=actor_of(self), incident_id=pk, annotations=notes_and_merged())
        return Response(IncidentDetailSerializer(shown, context={"request": request}).data)


class IncidentReplay(CheckedView):
    """Preview a bulk job that replays the runs of an incident. No run starts before the job is started."""

    @extend_schema(
        request=IncidentReplaySerializer, responses={201: BulkJobDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(
            IncidentReplaySerializer, request, lambda: change.require_incident_role(actor=actor, incident_id=pk)
        )
        key = request.headers.get("Idempotency-Key", "")
        job = incident_replay_preview(
            actor=actor, incident_id=pk, replay_version=body["version"], reason=body["reason"], idempotency_key=key
        )
        return Response(BulkJobDetailSerializer(job).data, status=status.HTTP_201_CREATED)


INCIDENT_STEPS: dict[str, type[CheckedView]] = {
    "own": IncidentOwn,
    "snooze": IncidentSnooze,
    "resolve": IncidentResolve,
    "reopen": IncidentReopen,
    "close": IncidentClose,
    "notes": IncidentNotes,
    "merge": IncidentMerge,
    "separate": IncidentSeparate,
    "split": IncidentSplit,
    "replay": IncidentReplay,
}
