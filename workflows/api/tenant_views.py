"""REST API of tenants and of maintenance (docs/reference/administration.md#tenants).

A superuser with a session reaches all tenants. An administrator reaches the own tenant.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.api.bodies import KnownFieldsSerializer, read_body
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import PortalMaintenance, Tenant
from workflows.services.idempotency import CommandRepeated
from workflows.services.maintenance import (
    portal_maintenance_end,
    portal_maintenance_start,
    tenant_maintenance_end,
    tenant_maintenance_start,
)
from workflows.services.tenant_usage import uses_of
from workflows.services.tenants import (
    MOST,
    limits_of,
    require_tenant_admin,
    require_tenant_role,
    tenant_create,
    tenant_edit,
    tenant_find,
)
from workflows.statuses import CommandAction


class LimitSerializer(serializers.Serializer[Any]):
    name = serializers.ChoiceField(choices=list(MOST))
    limit = serializers.IntegerField(allow_null=True, help_text="null: no limit")
    used = serializers.FloatField(allow_null=True, help_text="as of `usage_at`; null: not measured yet")
    percent = serializers.IntegerField(allow_null=True)


class TenantSerializer(serializers.ModelSerializer[Tenant]):
    limits = serializers.SerializerMethodField()

    class Meta:
        model = Tenant
        fields = (
            "slug", "name", "is_active", "created_at", "maintenance_since", "maintenance_reason",
            "maintenance_by_name", "usage_at", "limits",
        )  # fmt: skip

    @extend_schema(responses=LimitSerializer(many=True))
    def get_limits(self, tenant: Tenant) -> list[dict[str, Any]]:
        return [
            {"name": use.name, "limit": use.limit, "used": use.used, "percent": use.percent} for use in uses_of(tenant)
        ]


class TenantCreateSerializer(KnownFieldsSerializer):
    slug = serializers.CharField(max_length=63)
    name = serializers.CharField(max_length=200)


class TenantLimitsSerializer(KnownFieldsSerializer):
    events_per_second = serializers.IntegerField(required=False, allow_null=True)
    open_runs = serializers.IntegerField(required=False, allow_null=True)
    stored_bytes = serializers.IntegerField(required=False, allow_null=True)


class TenantEditSerializer(KnownFieldsSerializer):
    """Fields that are absent do not change. `is_active` and `limits` need a superuser."""

    name = serializers.CharField(required=False, max_length=200)
    is_active = serializers.BooleanField(required=False, help_text="False: close the tenant.")
    limits = TenantLimitsSerializer(required=False, help_text="A limit that is absent does not change. null: no limit.")
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=2000)


class MaintenanceReasonSerializer(KnownFieldsSerializer):
    reason = serializers.CharField(max_length=500, help_text="Every page shows it.")


class PortalMaintenanceSerializer(serializers.ModelSerializer[PortalMaintenance]):
    class Meta:
        model = PortalMaintenance
        fields = ("since", "reason", "by_name")


class TenantList(CheckedView, generics.ListAPIView):
    """Return all tenants. Only superusers may call it."""

    row_order = ("created_at", "id")
    serializer_class = TenantSerializer

    def get_queryset(self) -> QuerySet[Tenant]:
        if getattr(self, "swagger_fake_view", False):
            return Tenant.objects.none()
        actor_of(self).require_superuser(to="see all tenants")
        return Tenant.objects.all()

    @extend_schema(request=TenantCreateSerializer, responses={201: TenantSerializer})
    def post(self, request: Request) -> Response:
        """Create a tenant. Only superusers may call it."""
        actor = actor_of(self)
        body = _checked(self, TenantCreateSerializer, request, "", CommandAction.CREATE_TENANT)
        tenant = tenant_create(actor=actor, slug=body["slug"], name=body["name"])
        return Response(TenantSerializer(tenant).data, status=status.HTTP_201_CREATED)


class TenantDetail(CheckedView):
    @extend_schema(responses=TenantSerializer)
    def get(self, request: Request, slug: str) -> Response:
        """Return one tenant with its limits. Its administrators and superusers may call it."""
        actor = actor_of(self)
        tenant = tenant_find(actor=actor, slug=slug)
        require_tenant_admin(actor, to="see the settings of the tenant")
        return Response(TenantSerializer(tenant).data)

    @extend_schema(request=TenantEditSerializer, responses=TenantSerializer, parameters=[IDEMPOTENCY_HEADER])
    def patch(self, request: Request, slug: str) -> Response:
        """Rename, close or open a tenant, or set its limits."""
        actor = actor_of(self)
        body = _checked(self, TenantEditSerializer, request, slug, CommandAction.EDIT_TENANT)
        limits = body.pop("limits", None)
        if limits is not None:
            body["limits"] = replace(limits_of(tenant_find(actor=actor, slug=slug)), **limits)
        return _done(self, slug, lambda: tenant_edit(actor=actor, slug=slug, idempotency_key=_key(request), **body))


class TenantMaintenance(CheckedView):
    @extend_schema(request=MaintenanceReasonSerializer, responses=TenantSerializer, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, slug: str) -> Response:
        """Start the maintenance of a tenant: new starts are held, and running work goes on."""
        actor = actor_of(self)
        body = _checked(self, MaintenanceReasonSerializer, request, slug, CommandAction.START_MAINTENANCE)
        reason, key = body["reason"], _key(request)
        return _done(
            self,
            slug,
            lambda: tenant_maintenance_start(actor=actor, slug=slug, reason=reason, idempotency_key=key),
        )

    @extend_schema(responses=TenantSerializer, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request, slug: str) -> Response:
        """End the maintenance of a tenant. Held starts begin in the order of their events."""
        actor, key = actor_of(self), _key(request)
        require_tenant_role(actor=actor, slug=slug, action=CommandAction.END_MAINTENANCE)
        return _done(self, slug, lambda: tenant_maintenance_end(actor=actor, slug=slug, idempotency_key=key))


class WholePortalMaintenance(CheckedView):
    @extend_schema(responses={200: PortalMaintenanceSerializer, 204: None})
    def get(self, request: Request) -> Response:
        """Return the maintenance of the whole portal. 204: there is none."""
        row = PortalMaintenance.objects.first()
        if row is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        return Response(PortalMaintenanceSerializer(row).data)

    @extend_schema(
        request=MaintenanceReasonSerializer, responses=PortalMaintenanceSerializer, parameters=[IDEMPOTENCY_HEADER]
    )
    def post(self, request: Request) -> Response:
        """Start the maintenance of the whole portal. Only superusers may call it."""
        actor = actor_of(self)
        body = _checked(self, MaintenanceReasonSerializer, request, "", CommandAction.START_MAINTENANCE)
        try:
            row = portal_maintenance_start(actor=actor, reason=body["reason"], idempotency_key=_key(request))
        except CommandRepeated:
            return self.get(request)
        return Response(PortalMaintenanceSerializer(row).data)

    @extend_schema(responses={204: None}, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request) -> Response:
        """End the maintenance of the whole portal. Only superusers may call it."""
        actor = actor_of(self)
        require_tenant_role(actor=actor, action=CommandAction.END_MAINTENANCE)
        tenants = list(Tenant.objects.order_by("id"))
        with suppress(CommandRepeated):
            portal_maintenance_end(actor=actor, tenants=tenants, idempotency_key=_key(request))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _key(request: Request) -> str:
    return request.headers.get("Idempotency-Key", "")


def _checked(
    view: CheckedView, kind: type[KnownFieldsSerializer], request: Request, slug: str, action: CommandAction
) -> dict[str, Any]:
    actor = actor_of(view)
    require_tenant_role(actor=actor, slug=slug, action=action)
    return read_body(kind, request, lambda: None)


def _done(view: CheckedView, slug: str, call: Callable[[], Tenant]) -> Response:
    try:
        tenant = call()
    except CommandRepeated:
        tenant = tenant_find(actor=actor_of(view), slug=slug)
    return Response(TenantSerializer(tenant).data)
