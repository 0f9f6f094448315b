"""REST API of human tasks (docs/reference/engine.md#human-tasks)."""

import uuid

from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body
from workflows.api.filters import TaskFilter
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.serializers import (
    AcceptedSerializer,
    TaskAssignSerializer,
    TaskDraftSerializer,
    TaskDraftWriteSerializer,
    TaskResponseSerializer,
    TaskSerializer,
)
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import HumanTask
from workflows.services.human_tasks import task_complete
from workflows.services.task_access import require_task_role
from workflows.services.task_drafts import (
    require_may_draft,
    task_draft_discard,
    task_draft_read,
    task_draft_save,
)
from workflows.services.task_holders import task_assign, task_claim, task_release
from workflows.statuses import CommandAction


class TaskList(TenantScoped, generics.ListAPIView):
    """Return the human tasks of the tenant, newest first."""

    model = HumanTask
    related = ("claimed_by",)
    row_order = ("-created_at", "-id")
    serializer_class = TaskSerializer
    filterset_class = TaskFilter


class TaskDetail(TenantScoped, generics.RetrieveAPIView):
    """Return a human task."""

    model = HumanTask
    related = ("claimed_by",)
    serializer_class = TaskSerializer


class TaskComplete(CheckedView):
    """Complete a human task with a response. The run continues when Temporal has accepted the response."""

    @extend_schema(request=TaskResponseSerializer, responses={202: AcceptedSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        action = CommandAction.COMPLETE_TASK
        body = read_body(
            TaskResponseSerializer, request, lambda: require_task_role(actor=actor, task_id=pk, action=action)
        )  # fmt: skip
        command = task_complete(
            actor=actor,
            task_id=pk,
            response=body["response"],
            reason=body["reason"],
            idempotency_key=request.headers.get("Idempotency-Key", ""),
        )
        return Response(
            {"command_id": str(command.id), "state": command.state, "run_id": str(command.run_id), "id": str(pk)},
            status=status.HTTP_202_ACCEPTED,
        )


class TaskDraftDetail(CheckedView):
    """Draft of a response: what the caller has typed and not sent yet. No other member sees it."""

    @extend_schema(responses={200: TaskDraftSerializer})
    def get(self, request: Request, pk: uuid.UUID) -> Response:
        """Return the draft of the caller. `saved_at` is null if there is none."""
        draft = task_draft_read(actor=actor_of(self), task_id=pk)
        values = {"typed": draft.typed, "saved_at": draft.saved_at} if draft else {"typed": {}, "saved_at": None}
        return Response(TaskDraftSerializer(values).data)

    @extend_schema(request=TaskDraftWriteSerializer, responses={200: TaskDraftSerializer})
    def put(self, request: Request, pk: uuid.UUID) -> Response:
        """Replace the draft of the caller. Nothing is checked against the form."""
        actor = actor_of(self)
        body = read_body(TaskDraftWriteSerializer, request, lambda: require_may_draft(actor=actor, task_id=pk))
        saved_at = task_draft_save(actor=actor, task_id=pk, typed=body["typed"])
        return Response(TaskDraftSerializer({"typed": body["typed"], "saved_at": saved_at}).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """Delete the draft of the caller."""
        task_draft_discard(actor=actor_of(self), task_id=pk)
        return Response(status=status.HTTP_204_NO_CONTENT)


class TaskChange(CheckedView):
    # These views change only the task's row and do not call Temporal. The response is the task.

    def shown(self, request: Request, task: HumanTask) -> Response:
        return Response(TaskSerializer(task, context={"request": request}).data)


class TaskClaim(TaskChange):
    """Claim a human task for the caller."""

    @extend_schema(request=None, responses={200: TaskSerializer})
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.shown(request, task_claim(actor=actor_of(self), task_id=pk))


class TaskRelease(TaskChange):
    """Release a claimed task, so that other members can claim it."""

    @extend_schema(request=None, responses={200: TaskSerializer})
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        return self.shown(request, task_release(actor=actor_of(self), task_id=pk))


class TaskAssign(TaskChange):
    """Assign a human task to a member of the tenant."""

    @extend_schema(request=TaskAssignSerializer, responses={200: TaskSerializer})
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        action = CommandAction.ASSIGN_TASK
        body = read_body(
            TaskAssignSerializer, request, lambda: require_task_role(actor=actor, task_id=pk, action=action)
        )  # fmt: skip
        task = task_assign(actor=actor, task_id=pk, username=body["username"])
        return self.shown(request, task)
