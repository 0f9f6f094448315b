"""REST API of schedules and holiday calendars (docs/reference/schedules.md#requests)."""

import uuid
from contextlib import suppress
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.actors import Actor
from workflows.api.bodies import read_body, role_first
from workflows.api.query import CheckedView
from workflows.api.schedule_serializers import (
    BackfillRequestSerializer,
    BackfillSerializer,
    NewScheduleSerializer,
    NextTimesSerializer,
    OccurrenceSerializer,
    ScheduleDetailSerializer,
    ScheduleFieldsSerializer,
    ScheduleSerializer,
)
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.serializers import CommandRequestSerializer
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.errors import InputInvalid
from workflows.models import Schedule, ScheduleOccurrence
from workflows.services.idempotency import CommandRepeated
from workflows.services.schedules.control import (
    SHOWN,
    schedule_backfill,
    schedule_backfill_preview,
    schedule_pause,
    schedule_resume,
    schedule_trigger,
)
from workflows.services.schedules.edit import (
    require_no_problems,
    require_schedule_role,
    schedule_create,
    schedule_delete,
    schedule_find,
    schedule_update,
    schedule_warnings,
    set_fields,
)
from workflows.services.schedules.field_checks import ScheduleFields, schedule_problems
from workflows.services.schedules.selectors import NextTimes, occurrences_of
from workflows.services.schedules.times import next_times
from workflows.statuses import CommandAction, Role, ScheduleKind

FIELDS = frozenset(ScheduleFields.__dataclass_fields__)


def key_of(request: Request) -> str:
    return str(request.headers.get("Idempotency-Key", ""))


class ScheduleFilter(django_filters.FilterSet):
    definition = django_filters.CharFilter(field_name="definition__key")
    kind = django_filters.ChoiceFilter(choices=ScheduleKind.choices)

    class Meta:
        model = Schedule
        fields: list[str] = []


class ScheduleList(TenantScoped, generics.ListAPIView):
    """Return the schedules of the tenant, newest first."""

    model = Schedule
    related = ("definition", "calendar")
    unread = ("definition__draft_text",)
    row_order = ("-created_at", "-id")
    serializer_class = ScheduleSerializer
    filterset_class = ScheduleFilter

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(removed_at__isnull=True)

    @extend_schema(
        request=NewScheduleSerializer, responses={201: ScheduleDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        """Add a schedule to a definition. Temporal gets it at once, or the reconciler sends it."""
        actor = actor_of(self)
        with role_first(lambda: require_schedule_role(actor=actor)):
            given = _known_fields(request.data, also=("definition",))
            key = given.pop("definition", None)
            if not isinstance(key, str):
                require_no_problems([{"path": "definition", "message": "must be the key of a definition"}])
        try:
            schedule = schedule_create(
                actor=actor, definition_key=str(key), fields=ScheduleFields(**given), idempotency_key=key_of(request)
            )
        except CommandRepeated as repeated:
            schedule = schedule_find(tenant_id=actor.tenant_id, schedule_id=uuid.UUID(repeated.command.target_id))
        return Response(_shown(actor, schedule), status=201)


class SchedulePreview(CheckedView):
    """Return the next ten times of a schedule that does not exist yet. Nothing is written."""

    @extend_schema(request=ScheduleFieldsSerializer, responses={200: NextTimesSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        fields = ScheduleFields(**_known_fields(request.data))
        require_no_problems(schedule_problems(tenant_id=actor.tenant_id, definition=None, fields=fields))
        schedule = Schedule(tenant_id=actor.tenant_id)
        set_fields(schedule, fields)
        found = NextTimes(next_times(schedule, now=timezone.now()), "portal")
        return Response({**NextTimesSerializer(found).data, "warnings": schedule_warnings(schedule)})


class ScheduleDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a schedule with its next ten times."""

    model = Schedule
    serializer_class = ScheduleDetailSerializer

    def get_object(self) -> Schedule:
        return schedule_find(tenant_id=actor_of(self).tenant_id, schedule_id=self.kwargs["pk"])

    def get_serializer_context(self) -> dict[str, Any]:
        is_documentation = getattr(self, "swagger_fake_view", False)
        return {**super().get_serializer_context(), **({} if is_documentation else {"actor": actor_of(self)})}

    @extend_schema(
        request=ScheduleFieldsSerializer, responses={200: ScheduleDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def patch(self, request: Request, pk: uuid.UUID) -> Response:
        """Change the given fields of a schedule."""
        actor = actor_of(self)
        with role_first(lambda: require_schedule_role(actor=actor, schedule_id=pk)):
            changes = _known_fields(request.data)
        with suppress(CommandRepeated):
            schedule_update(actor=actor, schedule_id=pk, changes=changes, idempotency_key=key_of(request))
        return Response(_shown(actor, self.get_object()))

    @extend_schema(responses={204: None}, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """Delete a schedule. Its occurrences and their runs are kept."""
        with suppress(CommandRepeated):
            schedule_delete(actor=actor_of(self), schedule_id=pk, idempotency_key=key_of(request))
        return Response(status=204)


class ScheduleOccurrences(TenantScoped, generics.ListAPIView):
    """Return the occurrences of a schedule, newest first."""

    model = ScheduleOccurrence
    row_order = ("-scheduled_at", "-id")
    serializer_class = OccurrenceSerializer

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        schedule = schedule_find(tenant_id=actor_of(self).tenant_id, schedule_id=self.kwargs["pk"])
        return occurrences_of(schedule).select_related("event").defer("event__payload", "event__decision_trace")


class ScheduleStep(CheckedView):
    """Pause or resume a schedule. The response is the schedule."""

    action: CommandAction = CommandAction.PAUSE_SCHEDULE

    @extend_schema(
        request=CommandRequestSerializer, responses={200: ScheduleDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(
            CommandRequestSerializer,
            request,
            lambda: require_schedule_role(actor=actor, schedule_id=pk, action=self.action),
        )
        change = schedule_pause if self.action == CommandAction.PAUSE_SCHEDULE else schedule_resume
        with suppress(CommandRepeated):
            change(actor=actor, schedule_id=pk, reason=body["reason"], idempotency_key=key_of(request))
        return Response(_shown(actor, schedule_find(tenant_id=actor.tenant_id, schedule_id=pk)))


class ScheduleTrigger(CheckedView):
    """Start a run of a schedule now. The response is the occurrence."""

    @extend_schema(
        request=CommandRequestSerializer, responses={202: OccurrenceSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(CommandRequestSerializer, request, lambda: _require_operator(actor, pk))
        try:
            occurrence = schedule_trigger(
                actor=actor, schedule_id=pk, reason=body["reason"], idempotency_key=key_of(request)
            )
        except CommandRepeated as repeated:
            details = repeated.command.details or {}
            occurrence = ScheduleOccurrence.objects.get(tenant_id=actor.tenant_id, id=details["occurrence"])
        return Response(OccurrenceSerializer(occurrence).data, status=202)


class ScheduleBackfill(CheckedView):
    """Start the runs of past times. With `dry_run`, only count them."""

    @extend_schema(
        request=BackfillRequestSerializer,
        responses={200: BackfillSerializer, 202: BackfillSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(BackfillRequestSerializer, request, lambda: _require_operator(actor, pk))
        where = {"actor": actor, "schedule_id": pk, "start": body["start"], "end": body["end"]}
        if body["dry_run"]:
            _require_operator(actor, pk)
            plan = schedule_backfill_preview(**where)
            return Response(
                {
                    "dry_run": True,
                    "starts": len(plan.starts),
                    "skipped": len([at for at in plan.closed if at not in plan.recorded]),
                    "failed": 0,
                    "recorded": len([at for at in plan.times if at in plan.recorded]),
                    "times": plan.starts[:SHOWN],
                }
            )
        try:
            counts: Any = schedule_backfill(
                **where, overlap=body["overlap"], reason=body["reason"], idempotency_key=key_of(request)
            )
        except CommandRepeated as repeated:
            counts = repeated.command.details or {}
        shown = {"starts": "accepted", "skipped": "skipped", "failed": "failed", "recorded": "recorded"}
        numbers = {name: counts.get(status, 0) for name, status in shown.items()}
        return Response({"dry_run": False, **numbers, "times": []}, status=202)


def _shown(actor: Actor, schedule: Schedule) -> Any:
    return ScheduleDetailSerializer(schedule, context={"actor": actor}).data


def _require_operator(actor: Actor, pk: uuid.UUID) -> None:
    require_schedule_role(actor=actor, schedule_id=pk, action=CommandAction.TRIGGER_SCHEDULE, needs=Role.OPERATOR)


def _known_fields(body: Any, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a request body. Refuse unknown fields. The service checks the known ones."""
    if not isinstance(body, dict):
        raise InputInvalid(
            "The schedule is invalid: it must be a JSON object",
            code="SCHEDULE_INVALID",
            details={"problems": [{"path": "", "message": "must be a JSON object"}]},
        )
    message = f"is not a known field; known fields are {', '.join(sorted(FIELDS))}"
    unknown = [key for key in body if key not in FIELDS and key not in also][:20]
    require_no_problems([{"path": key[:100], "message": message} for key in unknown])
    return dict(body)
