"""Runs, commands and definitions over HTTP. Views name the intent; services do it (docs/architecture.md#principles)."""

import uuid
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from workflows.api.bodies import read_body
from workflows.api.filters import CommandFilter, RunFilter
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.serializers import (
    AcceptedSerializer,
    CommandRequestSerializer,
    CommandSerializer,
    DefinitionSerializer,
    InvocationSerializer,
    RunDetailSerializer,
    RunReplaySerializer,
    RunSerializer,
    RunStartSerializer,
    RunStepSerializer,
    RunWaitSerializer,
    VersionSerializer,
)
from workflows.models import ActionInvocation, Command, Definition, DefinitionVersion, Run, RunStep, RunWait
from workflows.selectors import runs_with_open_cancel
from workflows.services.runs.control import run_cancel, run_refuse_unsupported, run_terminate
from workflows.services.runs.replay import run_replay
from workflows.services.runs.requests import require_run_role, run_find
from workflows.services.runs.start import require_run_start_role, run_start
from workflows.statuses import CommandAction

IDEMPOTENCY_HEADER = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)


class RunList(TenantScoped, generics.ListAPIView):
    model = Run
    related = ("event",)
    newest_first = ("-created_at", "-id")
    serializer_class = RunSerializer
    filterset_class = RunFilter

    def get_queryset(self) -> QuerySet[Run]:
        return runs_with_open_cancel(super().get_queryset())

    @extend_schema(request=RunStartSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        asked = read_body(RunStartSerializer, request, lambda: require_run_start_role(actor=actor))
        run_id, command = run_start(
            actor=actor,
            definition_key=asked["definition"],
            version=asked.get("version"),
            payload=asked["payload"],
            reason=asked["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, run_id)


class RunDetail(TenantScoped, generics.RetrieveAPIView):
    model = Run
    related = ("event",)
    serializer_class = RunDetailSerializer

    def get_queryset(self) -> QuerySet[Run]:
        return runs_with_open_cancel(super().get_queryset())


class RunPart(TenantScoped, generics.ListAPIView):
    """Rows that belong to one run of the tenant."""

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        run = run_find(actor=actor_of(self), run_id=self.kwargs["pk"])
        return rows.filter(run=run)


class RunSteps(RunPart):
    model = RunStep
    newest_first = ("projection_seq", "id")
    serializer_class = RunStepSerializer


class RunWaits(RunPart):
    model = RunWait
    related = ("event",)
    newest_first = ("opened_at", "id")
    serializer_class = RunWaitSerializer


class RunInvocations(RunPart):
    model = ActionInvocation
    newest_first = ("started_at", "id")
    serializer_class = InvocationSerializer


class RunCancel(APIView):
    @extend_schema(
        request=CommandRequestSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        command = run_cancel(
            actor=actor_of(self),
            run_id=pk,
            reason=_asked(self, CommandAction.CANCEL, pk)["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, pk)


class RunTerminate(APIView):
    @extend_schema(
        request=CommandRequestSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        command = run_terminate(
            actor=actor_of(self),
            run_id=pk,
            reason=_asked(self, CommandAction.TERMINATE, pk)["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, pk)


class RunReplay(APIView):
    """A fresh run with the original input, or with `payload`; the answer's `run_id` is the new run."""

    @extend_schema(request=RunReplaySerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        asked = _asked(self, CommandAction.REPLAY, pk, RunReplaySerializer)
        new_run_id, command = run_replay(
            actor=actor_of(self),
            run_id=pk,
            payload=asked["payload"],
            reason=asked["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, new_run_id)


class RunUnsupported(APIView):
    """Requests that belong to another kind of engine: always refused, with what to do instead."""

    action: CommandAction = CommandAction.RESUME

    @extend_schema(request=CommandRequestSerializer, responses={409: None})
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        run_refuse_unsupported(
            actor=actor_of(self),
            run_id=pk,
            action=self.action,
            reason=_asked(self, self.action, pk)["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )


class CommandList(TenantScoped, generics.ListAPIView):
    model = Command
    newest_first = ("-requested_at", "-id")
    serializer_class = CommandSerializer
    filterset_class = CommandFilter


class CommandDetail(TenantScoped, generics.RetrieveAPIView):
    model = Command
    serializer_class = CommandSerializer


class DefinitionList(TenantScoped, generics.ListAPIView):
    model = Definition
    related = ("published_version",)
    newest_first = ("key",)
    serializer_class = DefinitionSerializer


class DefinitionDetail(TenantScoped, generics.RetrieveAPIView):
    model = Definition
    related = ("published_version",)
    lookup_field = "key"
    serializer_class = DefinitionSerializer


class DefinitionVersions(TenantScoped, generics.ListAPIView):
    model = DefinitionVersion
    newest_first = ("-version", "-id")
    serializer_class = VersionSerializer

    def get_queryset(self) -> QuerySet[DefinitionVersion]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        definition = generics.get_object_or_404(Definition, tenant_id=actor_of(self).tenant_id, key=self.kwargs["key"])
        return rows.filter(definition=definition)


def _asked(
    view: APIView, action: CommandAction, run_id: uuid.UUID, kind: type[Serializer[Any]] = CommandRequestSerializer
) -> dict[str, Any]:
    """The body of a request about a run."""
    actor = actor_of(view)
    return read_body(kind, view.request, lambda: require_run_role(actor=actor, run_id=run_id, action=action))


def _accepted(command: Command, run_id: uuid.UUID) -> Response:
    return Response(
        {"command_id": str(command.id), "state": command.state, "run_id": str(run_id), "id": str(run_id)},
        status=status.HTTP_202_ACCEPTED,
    )
