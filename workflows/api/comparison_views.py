"""REST API of the comparison of everything with Temporal (docs/reference/authority.md#compare-all-now)."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Command
from workflows.services.comparison import comparison_request, newest_comparison, require_comparison_role


class ComparisonRequestSerializer(KnownFieldsSerializer):
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class ComparisonSerializer(serializers.Serializer[Any]):
    """A comparison of all open runs and schedules. It goes on while `state` is `accepted`."""

    command_id = serializers.UUIDField(source="id")
    state = serializers.CharField()
    requested_at = serializers.DateTimeField()
    actor = serializers.CharField(source="actor_name")
    reason = serializers.CharField()
    message = serializers.CharField(help_text="Why the comparison stopped. Empty if it did not.")
    runs = serializers.IntegerField(source="details.total", help_text="Open runs at the time of the request.")
    compared = serializers.IntegerField(source="details.compared")
    different = serializers.IntegerField(source="details.different")
    not_compared = serializers.IntegerField(
        source="details.notCompared", help_text="Runs and schedules that could not be compared."
    )
    schedules = serializers.IntegerField(source="details.schedules", help_text="Schedules that were compared.")
    schedules_different = serializers.IntegerField(source="details.schedulesDifferent")


class NewestComparisonSerializer(serializers.Serializer[Any]):
    newest = ComparisonSerializer(allow_null=True, help_text="null: no comparison was requested yet.")


class Comparison(CheckedView):
    """Comparison of all open runs and schedules of the tenant with Temporal."""

    @extend_schema(responses=NewestComparisonSerializer)
    def get(self, request: Request) -> Response:
        """Return the newest comparison with its progress."""
        command = newest_comparison(actor_of(self).tenant_id)
        return Response({"newest": None if command is None else _shown(command)})

    @extend_schema(
        request=ComparisonRequestSerializer, responses={202: ComparisonSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        """Request a comparison. Rows that differ are repaired from Temporal. Workflows are not changed."""
        actor = actor_of(self)
        body = read_body(ComparisonRequestSerializer, request, lambda: require_comparison_role(actor=actor))
        key = request.headers.get("Idempotency-Key", "")
        command = comparison_request(actor=actor, reason=body["reason"], idempotency_key=key)
        return Response(_shown(command), status=status.HTTP_202_ACCEPTED)


def _shown(command: Command) -> dict[str, Any]:
    return dict(ComparisonSerializer(command).data)
