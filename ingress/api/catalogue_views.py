"""Event catalogue over HTTP.

Source: docs/reference/screens.md#other-screens, docs/reference/api.md#scope
"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from ingress.api.catalogue_serializers import EventTypeDetailSerializer, EventTypeFieldsSerializer, EventTypeSerializer
from ingress.catalogue import (
    EventTypeFields,
    event_type_delete,
    event_type_find,
    event_type_save,
    require_event_type_role,
)
from workflows.api.bodies import role_first
from workflows.api.scope import TenantScoped, actor_of
from workflows.errors import InputInvalid
from workflows.models import EventType

FIELDS = frozenset(EventTypeFields.__dataclass_fields__)


class EventTypeList(TenantScoped, generics.ListAPIView):
    model = EventType
    row_order = ("name",)
    serializer_class = EventTypeSerializer

    @extend_schema(request=EventTypeFieldsSerializer, responses={201: EventTypeSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        with role_first(lambda: require_event_type_role(actor=actor)):
            name, fields = _read(request.data)
        saved = event_type_save(actor=actor, name=name, fields=fields, must_be_new=True)
        return Response(self.get_serializer(saved.row).data, status=201)


class EventTypeDetail(TenantScoped, generics.RetrieveAPIView):
    model = EventType
    serializer_class = EventTypeDetailSerializer

    def get_object(self) -> EventType:
        return event_type_find(tenant_id=actor_of(self).tenant_id, name=self.kwargs["name"])

    @extend_schema(
        request=EventTypeFieldsSerializer, responses={200: EventTypeDetailSerializer, 201: EventTypeDetailSerializer}
    )
    def put(self, request: Request, name: str) -> Response:
        """Create the entry with this name, or replace it. Fields that are left out get their defaults."""
        actor = actor_of(self)
        with role_first(lambda: require_event_type_role(actor=actor, name=name)):
            _, fields = _read(request.data, name=name)
        saved = event_type_save(actor=actor, name=name, fields=fields)
        return Response(self.get_serializer(saved.row).data, status=201 if saved.is_new else 200)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        event_type_delete(actor=actor_of(self), name=name)
        return Response(status=204)


def _read(body: Any, *, name: str | None = None) -> tuple[Any, EventTypeFields]:
    """Return the name and the fields of a request body. Refuse unknown fields. The service checks the known fields."""
    problems = []
    if not isinstance(body, dict):
        problems.append({"path": "", "message": "must be a JSON object"})
    else:
        problems += [
            {"path": key[:100], "message": f"is not a known field; known fields are name, {', '.join(sorted(FIELDS))}"}
            for key in body
            if key not in FIELDS and key != "name"
        ][:20]
        if name is not None and body.get("name", name) != name:
            problems.append({"path": "name", "message": f"must be {name!r}, as in the URL, or must be left out"})
    if problems:
        raise InputInvalid(
            f"The event type is invalid: {problems[0]['path']} {problems[0]['message']}",
            code="EVENT_TYPE_INVALID",
            details={"problems": problems},
        )
    return body.get("name"), EventTypeFields(**{key: value for key, value in body.items() if key in FIELDS})
