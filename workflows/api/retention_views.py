"""REST API of the retention periods, for administrators only (docs/reference/retention.md#periods)."""

from contextlib import suppress
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.services.idempotency import CommandRepeated
from workflows.services.retention.policy import (
    COLUMNS,
    RetentionPolicy,
    require_retention_role,
    retention_policy_find,
    retention_policy_save,
)


class RetentionSerializer(serializers.Serializer[Any]):
    runs = serializers.IntegerField(help_text="Days for closed runs, from their end.")
    events = serializers.IntegerField(help_text="Days for events, from their receipt.")
    notifications = serializers.IntegerField(help_text="Days for in-app notifications.")
    ledger = serializers.IntegerField(help_text="Days for the command ledger. At least as many as for runs.")
    sign_ins = serializers.IntegerField(help_text="Days for the log of sign-ins.")


class RetentionSaveSerializer(KnownFieldsSerializer, RetentionSerializer):
    confirm = serializers.BooleanField(
        required=False,
        default=False,
        help_text="True: save shorter periods. Without it, the response is 409 with the number of rows that are older.",
    )
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class Retention(CheckedView):
    """Return the retention periods of the tenant in days. Only administrators may call it."""

    @extend_schema(responses=RetentionSerializer)
    def get(self, request: Request) -> Response:
        return Response(retention_policy_find(actor=actor_of(self)).as_json())

    @extend_schema(request=RetentionSaveSerializer, responses=RetentionSerializer, parameters=[IDEMPOTENCY_HEADER])
    def put(self, request: Request) -> Response:
        """Replace the retention periods of the tenant. The next deletion uses them."""
        actor = actor_of(self)
        body = read_body(RetentionSaveSerializer, request, lambda: require_retention_role(actor=actor))
        with suppress(CommandRepeated):
            retention_policy_save(
                actor=actor,
                policy=RetentionPolicy(**{name: body[name] for name in COLUMNS}),
                is_confirmed=body["confirm"],
                reason=body["reason"],
                idempotency_key=request.headers.get("Idempotency-Key", ""),
            )
        return Response(retention_policy_find(actor=actor).as_json())
