"""REST API for authors: create, edit, validate, publish, roll back and delete definitions.

Source: docs/reference/administration.md#definition-life-cycle
"""

from contextlib import suppress
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import read_body
from workflows.api.definition_serializers import (
    DefinitionCreateSerializer,
    DefinitionDetailSerializer,
    DefinitionSerializer,
    DraftSaveSerializer,
    DraftSerializer,
    ExampleSerializer,
    ProblemsSerializer,
    PublishSerializer,
    ReasonSerializer,
    RollBackSerializer,
    SettingsSerializer,
    ValidateSerializer,
)
from workflows.api.definition_views import DefinitionChange
from workflows.api.filters import DefinitionFilter
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Definition
from workflows.services.definitions.changes import definition_find, require_definition_role
from workflows.services.definitions.drafts import Origin, definition_create, definition_save_draft, draft_document
from workflows.services.definitions.ends import definition_delete
from workflows.services.definitions.examples import examples
from workflows.services.definitions.problems import definition_problems
from workflows.services.definitions.publish import definition_publish, definition_roll_back
from workflows.services.definitions.settings import definition_save_settings
from workflows.services.idempotency import CommandRepeated
from workflows.statuses import CommandAction, Role


class DefinitionList(TenantScoped, generics.ListAPIView):
    """Return the definitions of the tenant, by key."""

    model = Definition
    related = ("published_version",)
    row_order = ("key",)
    serializer_class = DefinitionSerializer
    filterset_class = DefinitionFilter

    @extend_schema(
        request=DefinitionCreateSerializer,
        responses={201: DefinitionDetailSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def post(self, request: Request) -> Response:
        """Create a definition with a draft: blank, or from a document, an example, a copy or a bundle."""
        actor = actor_of(self)
        check = CommandAction.CREATE_DEFINITION
        body = read_body(
            DefinitionCreateSerializer, request, lambda: require_definition_role(actor=actor, action=check)
        )
        key, name = body.pop("key"), body.pop("name")
        idempotency_key = request.headers.get("Idempotency-Key", "")
        with suppress(CommandRepeated):
            definition_create(actor=actor, key=key, name=name, origin=Origin(**body), idempotency_key=idempotency_key)
        made = definition_find(tenant_id=actor.tenant_id, key=key)
        return Response(DefinitionDetailSerializer(made).data, status=status.HTTP_201_CREATED)


class DefinitionDetail(DefinitionChange, TenantScoped, generics.RetrieveAPIView):
    """Return a definition."""

    model = Definition
    related = ("published_version",)
    lookup_field = "key"
    serializer_class = DefinitionDetailSerializer
    action = CommandAction.EDIT_DEFINITION

    @extend_schema(
        request=SettingsSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def patch(self, request: Request, key: str) -> Response:
        """Change the owner, the contact, the runbook, the concurrency limit or the auto-pause of a definition."""
        body = self.body(SettingsSerializer)
        reason = body.pop("reason")
        return self.changed(definition_save_settings, changes=body, reason=reason)

    @extend_schema(request=ReasonSerializer, responses={204: None}, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request, key: str) -> Response:
        """Delete a definition without open runs. Its closed runs stay."""
        self.action = CommandAction.DELETE_DEFINITION
        actor, idempotency_key = actor_of(self), request.headers.get("Idempotency-Key", "")
        reason = self.body(ReasonSerializer)["reason"]
        with suppress(CommandRepeated):
            definition_delete(actor=actor, key=key, reason=reason, idempotency_key=idempotency_key)
        return Response(status=status.HTTP_204_NO_CONTENT)


class DefinitionDraft(DefinitionChange):
    """Return the draft of a definition, with its problems."""

    action = CommandAction.EDIT_DEFINITION

    @extend_schema(responses={200: DraftSerializer})
    def get(self, request: Request, key: str) -> Response:
        return self.shown(definition_find(tenant_id=actor_of(self).tenant_id, key=key))

    @extend_schema(request=DraftSaveSerializer, responses={200: DraftSerializer}, parameters=[IDEMPOTENCY_HEADER])
    def put(self, request: Request, key: str) -> Response:
        """Save the draft. If another save came first, the response is 409 DRAFT_STALE with both documents."""
        body = self.body(DraftSaveSerializer)
        self.changed(definition_save_draft, document=body["document"], draft_version=body["draft_version"])
        return self.shown(definition_find(tenant_id=actor_of(self).tenant_id, key=key))

    def shown(self, definition: Definition) -> Response:
        document = draft_document(definition)
        shown = {"key": definition.key, "draft_version": definition.draft_version, "document": document}
        return Response({**shown, **problems_of(definition, document)})


class DefinitionValidate(CheckedView):
    """Return the problems of a document, or of the draft. Nothing is stored."""

    @extend_schema(request=ValidateSerializer, responses={200: ProblemsSerializer})
    def post(self, request: Request, key: str) -> Response:
        actor = actor_of(self)

        def check() -> None:
            actor.require(Role.AUTHOR, to="validate definitions")
            definition_find(tenant_id=actor.tenant_id, key=key)

        body = read_body(ValidateSerializer, request, check)
        check()
        definition = definition_find(tenant_id=actor.tenant_id, key=key)
        return Response(problems_of(definition, body["document"] if "document" in body else draft_document(definition)))


class DefinitionPublish(DefinitionChange):
    """Publish the draft as the next version. Errors of the draft prevent it, warnings do not."""

    action = CommandAction.PUBLISH

    @extend_schema(
        request=PublishSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, key: str) -> Response:
        body = self.body(PublishSerializer)
        return self.changed(definition_publish, note=body["note"], draft_version=body["draft_version"])


class DefinitionRollBack(DefinitionChange):
    """Publish the text of an older version again, as a new version."""

    action = CommandAction.ROLL_BACK

    @extend_schema(
        request=RollBackSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, key: str) -> Response:
        body = self.body(RollBackSerializer)
        return self.changed(definition_roll_back, version=body["version"], reason=body["reason"])


class ExampleList(CheckedView):
    """Return the examples from which a definition can be created."""

    @extend_schema(responses={200: ExampleSerializer(many=True)})
    def get(self, request: Request) -> Response:
        return Response([vars(example) for example in examples()])


def problems_of(definition: Definition, document: Any) -> dict[str, Any]:
    problems = definition_problems(document, tenant_id=definition.tenant_id)
    return {
        "valid": not any(problem.is_error for problem in problems),
        "problems": [problem.as_object() for problem in problems],
    }
