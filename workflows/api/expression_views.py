"""REST API of the expression lab. It writes nothing.

Source: docs/reference/screens.md#expression-lab
"""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.scopes import require_scope
from workflows.services.expression_lab import expression_evaluate
from workflows.statuses import Role


class ExpressionRequestSerializer(KnownFieldsSerializer):
    """An expression, and either a run or an event."""

    expression = serializers.CharField(trim_whitespace=False)
    run = serializers.UUIDField(required=False, help_text="Id of the run whose scopes the expression sees.")
    step = serializers.CharField(
        required=False, default="", help_text="Path of a step. Without it: the present position or the end of the run."
    )
    iteration = serializers.CharField(required=False, default="", help_text="Iteration of the step, for example `2.0`.")
    event = serializers.UUIDField(required=False, help_text="The portal's id of a stored event.")
    contract = serializers.IntegerField(required=False, help_text="Contract version. Default: that of the run.")


class ExpressionErrorSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    position = serializers.IntegerField(allow_null=True)
    line = serializers.IntegerField(allow_null=True)
    column = serializers.IntegerField(allow_null=True)
    suggestion = serializers.CharField(allow_null=True)


class ExpressionResultSerializer(serializers.Serializer[Any]):
    where = serializers.CharField(help_text="Place of the scopes in words.")
    contract = serializers.IntegerField()
    value = serializers.JSONField(allow_null=True)
    type = serializers.CharField(help_text="JSON type of the value, or `error`.")
    error = ExpressionErrorSerializer(allow_null=True)
    steps = serializers.IntegerField(help_text="Evaluation steps that were used.")
    step_limit = serializers.IntegerField()


class ExpressionEvaluate(CheckedView):
    """Evaluate an expression over the scopes of a run at a step, or over a stored event. Nothing is written."""

    @extend_schema(request=ExpressionRequestSerializer, responses={200: ExpressionResultSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)

        def check() -> None:
            actor.require(Role.OPERATOR, to="use the expression lab")

        body = read_body(ExpressionRequestSerializer, request, check)
        if body.get("event") is not None:
            require_scope(request, "events:read")
        result, scopes = expression_evaluate(
            actor=actor,
            expression=body["expression"],
            run_id=body.get("run"),
            step_path=body["step"],
            iteration=body["iteration"],
            event_id=body.get("event"),
            contract=body.get("contract"),
        )
        return Response({"where": scopes.where, **asdict(result)})
