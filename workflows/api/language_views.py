"""REST API of the workflow language: its JSON Schema, and the validation of a text that is not stored.

Source: docs/reference/administration.md#definition-life-cycle
"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body
from workflows.api.definition_serializers import ProblemsSerializer
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.engine.validation.language_schema import language_schema
from workflows.services.definitions.problems import definition_problems, definition_text_problems
from workflows.statuses import Role


class LanguageValidateSerializer(serializers.Serializer[Any]):
    """A definition as JSON text or as a JSON object. Exactly one of the two is given."""

    text = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="JSON text. Lines and columns refer to it."
    )
    document = serializers.JSONField(
        required=False, allow_null=True, help_text="Lines and columns refer to its canonical text."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Send either `text` or `document`.")
        return attrs


class LanguageSchema(CheckedView):
    """Return the JSON Schema (2020-12) of the workflow language."""

    @extend_schema(responses={200: dict[str, Any]})
    def get(self, request: Request) -> Response:
        return Response(language_schema())


class LanguageValidate(CheckedView):
    """Return the problems of a definition. Nothing is stored, and no definition needs to exist."""

    @extend_schema(request=LanguageValidateSerializer, responses={200: ProblemsSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)

        def check() -> None:
            actor.require(Role.AUTHOR, to="validate definitions")

        body = read_body(LanguageValidateSerializer, request, check)
        check()
        if "text" in body:
            problems = definition_text_problems(body["text"], tenant_id=actor.tenant_id)[1]
        else:
            problems = definition_problems(body["document"], tenant_id=actor.tenant_id)
        return Response(
            {
                "valid": not any(problem.is_error for problem in problems),
                "problems": [problem.as_object() for problem in problems],
            }
        )
