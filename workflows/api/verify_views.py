"""REST API that compares a run with Temporal and repairs its rows.

Source: docs/reference/authority.md#age-and-repair-of-projections
"""

import uuid
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.scopes import require_scope
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.projection_differences import Difference
from workflows.services.runs.requests import run_find
from workflows.services.runs.stuck import PendingTaskReport
from workflows.services.runs.verify import run_repair, run_verify


class RunVerifyRequestSerializer(serializers.Serializer[Any]):
    repair = serializers.BooleanField(
        required=False, default=False, help_text="True: rewrite the rows from Temporal's history."
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class DifferenceSerializer(serializers.Serializer[Any]):
    where = serializers.CharField(help_text="Row with the difference.")
    field = serializers.CharField()
    row = serializers.CharField(help_text="Value in the row. Of JSON only its size.")
    temporal = serializers.CharField(help_text="Value in Temporal's history. Of JSON only its size.")


class PendingTaskSerializer(serializers.Serializer[Any]):
    """Workflow task that Temporal has scheduled and that no worker has completed."""

    attempt = serializers.IntegerField(help_text="1 if the task has not failed or timed out.")
    scheduled_at = serializers.DateTimeField(allow_null=True)
    is_stuck = serializers.BooleanField(help_text="True if Temporal cannot move the run.")
    failing_since = serializers.DateTimeField(allow_null=True, help_text="Only if `is_stuck` is true.")
    cause = serializers.CharField(help_text="Cause of the last failure. Empty if `is_stuck` is false.")


class RunVerifySerializer(serializers.Serializer[Any]):
    """Result of the comparison. If the comparison was not possible, `equal` is null and `notes` have the reason."""

    run_id = serializers.UUIDField()
    verified_at = serializers.DateTimeField()
    equal = serializers.BooleanField(allow_null=True)
    differences = DifferenceSerializer(many=True)
    notes = serializers.ListField(child=serializers.CharField())
    pending_task = PendingTaskSerializer(allow_null=True)
    repair = serializers.DictField(
        required=False, help_text="`command_id`, `state` and `outcome` of the repair, if it was requested."
    )


class RunVerify(CheckedView):
    """Compare every field of the run's rows with Temporal's history.

    With `repair`, rewrite the rows from this history.
    """

    @extend_schema(
        request=RunVerifyRequestSerializer, responses={200: RunVerifySerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, pk: uuid.UUID) -> Response:
        actor = actor_of(self)
        body = read_body(RunVerifyRequestSerializer, request, lambda: run_find(actor=actor, run_id=pk))
        repair: dict[str, Any] = {}
        if body["repair"]:
            require_scope(request, "runs:write")
            command, found = run_repair(
                actor=actor,
                run_id=pk,
                reason=body["reason"],
                idempotency_key=request.headers.get("Idempotency-Key", ""),
            )
            outcome = found.outcome if found else (command.details or {}).get("outcome", "")
            repair = {"repair": {"command_id": str(command.id), "state": command.state, "outcome": outcome}}
        verified = run_verify(actor=actor, run_id=pk)
        return Response(
            {
                "run_id": str(pk),
                "verified_at": verified.verified_at,
                "equal": verified.is_equal,
                "differences": [_shown(one) for one in verified.differences],
                "notes": verified.notes,
                "pending_task": _pending_task(verified.pending),
                **repair,
            }
        )


def _pending_task(report: PendingTaskReport) -> dict[str, Any] | None:
    if report.task is None:
        return None
    return {
        "attempt": report.task.attempt,
        "scheduled_at": report.task.scheduled_at,
        "is_stuck": report.stuck is not None,
        "failing_since": report.stuck.since if report.stuck else None,
        "cause": report.stuck.cause if report.stuck else "",
    }


def _shown(one: Difference) -> dict[str, str]:
    row, temporal = one.texts()
    return {"where": one.where, "field": one.field, "row": row, "temporal": temporal}
