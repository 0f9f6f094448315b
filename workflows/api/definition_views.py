"""REST API of definitions and their life cycle (docs/reference/administration.md#definition-life-cycle)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from workflows.api.bodies import read_body
from workflows.api.definition_serializers import (
    DefinitionDetailSerializer,
    HeldStartSerializer,
    ReasonSerializer,
    ResumeSerializer,
    VersionSerializer,
)
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Definition, DefinitionVersion, EventDelivery
from workflows.services.definitions.changes import definition_find, require_definition_role
from workflows.services.definitions.ends import definition_archive, definition_unarchive
from workflows.services.definitions.pause import definition_pause, definition_resume, starts_waiting
from workflows.services.idempotency import CommandRepeated
from workflows.statuses import CommandAction


class DefinitionPart(TenantScoped, generics.ListAPIView):
    # Rows of one definition of the tenant.

    def definition(self) -> Definition:
        return definition_find(tenant_id=actor_of(self).tenant_id, key=self.kwargs["key"])


class DefinitionVersions(DefinitionPart):
    """Return the published versions of a definition, newest first."""

    model = DefinitionVersion
    row_order = ("-version", "-id")
    serializer_class = VersionSerializer

    def get_queryset(self) -> QuerySet[DefinitionVersion]:
        rows = super().get_queryset()
        return rows if getattr(self, "swagger_fake_view", False) else rows.filter(definition=self.definition())


class DefinitionHeldStarts(DefinitionPart):
    """Return the event starts that wait for a resume or for a slot under the concurrency limit, oldest first."""

    model = EventDelivery
    row_order = ("created_at", "id")
    serializer_class = HeldStartSerializer

    def get_queryset(self) -> QuerySet[EventDelivery]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return starts_waiting(self.definition()).select_related("event", "definition_version").defer("event__payload")


class DefinitionChange(CheckedView):
    # Base of the views that change one definition. The response is the definition after the change.
    action: CommandAction

    def body(self, kind: type[Serializer[Any]]) -> dict[str, Any]:
        """Return the validated body. Permission and the key are checked first."""
        actor, key = actor_of(self), self.kwargs["key"]
        return read_body(kind, self.request, lambda: require_definition_role(actor=actor, key=key, action=self.action))

    def changed(self, change: Callable[..., object], **fields: Any) -> Response:
        """Call a service. If the request is a repeat, it changes nothing, and the response is the present state."""
        actor, key = actor_of(self), self.kwargs["key"]
        idempotency_key = self.request.headers.get("Idempotency-Key", "")
        with suppress(CommandRepeated):
            change(actor=actor, key=key, idempotency_key=idempotency_key, **fields)
        return Response(DefinitionDetailSerializer(definition_find(tenant_id=actor.tenant_id, key=key)).data)


class DefinitionPause(DefinitionChange):
    """Pause a definition. Event starts are held, other starts are refused, and open runs continue."""

    action = CommandAction.PAUSE

    @extend_schema(
        request=ReasonSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, key: str) -> Response:
        return self.changed(definition_pause, reason=self.body(ReasonSerializer)["reason"])


class DefinitionResume(DefinitionChange):
    """Resume a paused definition. The held starts are started or skipped, as `held_starts` says."""

    action = CommandAction.UNPAUSE

    @extend_schema(
        request=ResumeSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, key: str) -> Response:
        body = self.body(ResumeSerializer)
        return self.changed(definition_resume, reason=body["reason"], held=body.get("held_starts"))


class DefinitionArchive(DefinitionChange):
    """Archive a definition. It starts no more runs, its held starts are skipped, and open runs continue."""

    action = CommandAction.ARCHIVE

    @extend_schema(
        request=ReasonSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, key: str) -> Response:
        return self.changed(definition_archive, reason=self.body(ReasonSerializer)["reason"])


class DefinitionUnarchive(DefinitionChange):
    """Take a definition out of the archive. Events start its published version again, unless it is paused."""

    action = CommandAction.UNARCHIVE

    @extend_schema(
        request=ReasonSerializer, responses={200: DefinitionDetailSerializer}, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request, key: str) -> Response:
        return self.changed(definition_unarchive, reason=self.body(ReasonSerializer)["reason"])
