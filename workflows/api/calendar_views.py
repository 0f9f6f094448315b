"""REST API of holiday calendars (docs/reference/schedules.md#times)."""

import uuid
from contextlib import suppress
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import role_first
from workflows.api.schedule_serializers import CalendarFieldsSerializer, CalendarSerializer
from workflows.api.scope import TenantScoped, actor_of
from workflows.errors import InputInvalid
from workflows.models import HolidayCalendar
from workflows.models.schedules import default_weekend
from workflows.services.idempotency import CommandRepeated
from workflows.services.schedules.calendars import (
    calendar_delete,
    calendar_find,
    calendar_save,
    require_calendar_role,
)

FIELDS = ("name", "weekend", "holidays")


class CalendarList(TenantScoped, generics.ListAPIView):
    """Return the holiday calendars of the tenant."""

    model = HolidayCalendar
    row_order = ("name",)
    serializer_class = CalendarSerializer

    @extend_schema(request=CalendarFieldsSerializer, responses={201: CalendarSerializer})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        with role_first(lambda: require_calendar_role(actor=actor)):
            fields = _read(request.data)
        return Response(self.get_serializer(calendar_save(actor=actor, **fields)).data, status=201)


class CalendarDetail(TenantScoped, generics.RetrieveAPIView):
    model = HolidayCalendar
    serializer_class = CalendarSerializer

    def get_object(self) -> HolidayCalendar:
        return calendar_find(tenant_id=actor_of(self).tenant_id, calendar_id=self.kwargs["pk"])

    @extend_schema(request=CalendarFieldsSerializer, responses={200: CalendarSerializer})
    def put(self, request: Request, pk: uuid.UUID) -> Response:
        """Replace a calendar. Fields that are left out get their defaults."""
        actor = actor_of(self)
        with role_first(lambda: require_calendar_role(actor=actor, calendar_id=pk)):
            fields = _read(request.data)
        return Response(self.get_serializer(calendar_save(actor=actor, calendar_id=pk, **fields)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pk: uuid.UUID) -> Response:
        """Delete a calendar. A calendar that a schedule uses cannot be deleted."""
        with suppress(CommandRepeated):
            calendar_delete(actor=actor_of(self), calendar_id=pk)
        return Response(status=204)


def _read(body: Any) -> dict[str, Any]:
    unknown = [key for key in body if key not in FIELDS][:20] if isinstance(body, dict) else [""]
    if unknown:
        message = f"is not a known field; known fields are {', '.join(FIELDS)}" if unknown[0] else "must be an object"
        raise InputInvalid(
            f"The calendar is invalid: {unknown[0][:100]} {message}",
            code="CALENDAR_INVALID",
            details={"problems": [{"path": key[:100], "message": message} for key in unknown]},
        )
    return {"name": "", "weekend": default_weekend(), "holidays": {}, **body}
