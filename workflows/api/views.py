"""REST API of runs and commands. The views read the requests, and the services carry them out."""

import uuid
from contextlib import suppress
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from workflows.api.bodies import read_body
from workflows.api.filters import CommandFilter, RunFilter, RunLogFilter
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.serializers import (
    AcceptedSerializer,
    CommandRequestSerializer,
    CommandSerializer,
    HoldSerializer,
    InvocationSerializer,
    RunDetailSerializer,
    RunLogSerializer,
    RunReplaySerializer,
    RunSerializer,
    RunStartSerializer,
    RunStepSerializer,
    RunWaitSerializer,
    hold_as_json,
)
from workflows.models import ActionInvocation, Command, Run, RunHold, RunLog, RunStep, RunWait
from workflows.selectors.pruned_runs import run_not_found
from workflows.selectors.runs import runs_with_open_cancel
from workflows.services.idempotency import CommandRepeated
from workflows.services.retention.holds import require_hold_role, run_hold, run_release
from workflows.services.runs.control import run_cancel, run_refuse_unsupported, run_terminate
from workflows.services.runs.replay import run_replay
from workflows.services.runs.requests import require_run_role, run_find
from workflows.services.runs.start import require_run_start_role, run_start
from workflows.statuses import CommandAction

IDEMPOTENCY_HEADER = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)


EVENT_CONTENT = ("event__payload", "event__attributes", "event__decision_trace", "event__correlation_trace")


class RunList(TenantScoped, generics.ListAPIView):
    """Return the runs of the tenant, newest first."""

    model = Run
    related = ("event",)
    unread = EVENT_CONTENT
    row_order = ("-created_at", "-id")
    serializer_class = RunSerializer
    filterset_class = RunFilter

    def get_queryset(self) -> QuerySet[Run]:
        return runs_with_open_cancel(super().get_queryset())

    @extend_schema(request=RunStartSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request) -> Response:
        """Start a run of a published definition."""
        actor = actor_of(self)
        body = read_body(RunStartSerializer, request, lambda: require_run_start_role(actor=actor))
        run_id, command = run_start(
            actor=actor,
            definition_key=body["definition"],
            version=body.get("version"),
            payload=body["payload"],
            reason=body["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, run_id)


class RunDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a run with its open waits."""

    model = Run
    related = ("event",)
    unread = EVENT_CONTENT
    serializer_class = RunDetailSerializer

    def get_queryset(self) -> QuerySet[Run]:
        return runs_with_open_cancel(super().get_queryset())

    def get_object(self) -> Run:
        """Errors: NotFound. If retention has deleted the run, it says so."""
        try:
            return super().get_object()
        except Http404 as error:
            raise run_not_found(tenant_id=actor_of(self).tenant_id, run_id=self.kwargs["pk"]) from error


class RunHoldView(CheckedView):
    """Set a legal hold on a run. Retention then deletes neither the run nor its family."""

    @extend_schema(request=CommandRequestSerializer, responses={200: HoldSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return _held(self, pk, run_hold, CommandAction.HOLD_RUN)


class RunReleaseView(CheckedView):
    """Release the legal hold of a run. Retention deletes the run when it is old enough."""

    @extend_schema(request=CommandRequestSerializer, responses={200: HoldSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return _held(self, pk, run_release, CommandAction.RELEASE_RUN)


def _held(view: CheckedView, run_id: uuid.UUID, service: Any, action: CommandAction) -> Response:
    actor, request = actor_of(view), view.request
    body = read_body(
        CommandRequestSerializer, request, lambda: require_hold_role(actor=actor, run_id=run_id, action=action)
    )
    key = request.headers.get("Idempotency-Key", "")
    with suppress(CommandRepeated):
        service(actor=actor, run_id=run_id, reason=body["reason"], idempotency_key=key)
    hold = RunHold.objects.filter(tenant_id=actor.tenant_id, run=run_id).first()
    return Response({"run_id": str(run_id), "legal_hold": hold_as_json(hold)})


class RunPart(TenantScoped, generics.ListAPIView):
    # Rows of one run of the tenant.

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        run = run_find(actor=actor_of(self), run_id=self.kwargs["pk"])
        return rows.filter(run=run)


class RunSteps(RunPart):
    """Return the step attempts of a run, ordered by the time of their last change."""

    model = RunStep
    row_order = ("projection_seq", "id")
    serializer_class = RunStepSerializer


class RunWaits(RunPart):
    """Return the open and closed waits of a run, ordered by the time at which they opened."""

    model = RunWait
    related = ("event",)
    unread = EVENT_CONTENT
    row_order = ("opened_at", "id")
    serializer_class = RunWaitSerializer


class RunLogs(RunPart):
    """Return the log lines of a run, ordered by time."""

    model = RunLog
    row_order = ("at", "id")
    serializer_class = RunLogSerializer
    filterset_class = RunLogFilter


class RunInvocations(RunPart):
    """Return the action calls of a run, ordered by the time of their start."""

    model = ActionInvocation
    row_order = ("started_at", "id")
    serializer_class = InvocationSerializer


class RunCancel(CheckedView):
    """Request the cancellation of a run. The run is canceled when its workflow has handled the request."""

    @extend_schema(
        request=CommandRequestSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        command = run_cancel(
            actor=actor_of(self),
            run_id=pk,
            reason=_body_of(self, CommandAction.CANCEL, pk)["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, pk)


class RunTerminate(CheckedView):
    """End a run at once. The run executes no further step."""

    @extend_schema(
        request=CommandRequestSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        command = run_terminate(
            actor=actor_of(self),
            run_id=pk,
            reason=_body_of(self, CommandAction.TERMINATE, pk)["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, pk)


class RunReplay(CheckedView):
    """Start a new run with the input of this run, or with `payload`. `run_id` in the response is the new run."""

    @extend_schema(request=RunReplaySerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        body = _body_of(self, CommandAction.REPLAY, pk, RunReplaySerializer)
        new_run_id, command = run_replay(
            actor=actor_of(self),
            run_id=pk,
            payload=body["payload"],
            on=body["version"],
            allow_another_run=body["allow_another_run"],
            accept_repeats=body["accept_repeats"],
            reason=body["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return _accepted(command, new_run_id)


class RunUnsupported(CheckedView):
    """Refuse a request that this engine does not support. The error message names the alternative."""

    action: CommandAction = CommandAction.RESUME

    @extend_schema(request=CommandRequestSerializer, responses={409: None})
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        run_refuse_unsupported(
            actor=actor_of(self),
            run_id=pk,
            action=self.action,
            reason=_body_of(self, self.action, pk)["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )


class CommandList(TenantScoped, generics.ListAPIView):
    """Return the command ledger of the tenant, newest first."""

    model = Command
    row_order = ("-requested_at", "-id")
    serializer_class = CommandSerializer
    filterset_class = CommandFilter


class CommandDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a command."""

    model = Command
    serializer_class = CommandSerializer


def _body_of(
    view: CheckedView, action: CommandAction, run_id: uuid.UUID, kind: type[Serializer[Any]] = CommandRequestSerializer
) -> dict[str, Any]:
    """Return the validated body of a request about a run. Permission is checked first."""
    actor = actor_of(view)
    return read_body(kind, view.request, lambda: require_run_role(actor=actor, run_id=run_id, action=action))


def _accepted(command: Command, run_id: uuid.UUID) -> Response:
    return Response(
        {
            "command_id": str(command.id),
            "state": command.state,
            "run_id": str(run_id),
            "id": str(run_id),
            **({"warning": {"code": command.code, "message": command.message}} if command.code else {}),
        },
        status=status.HTTP_202_ACCEPTED,
    )
