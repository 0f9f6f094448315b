"""Rows of the caller's tenant, and of no other."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.views import APIView

from workflows.actors import Actor


def actor_of(view: APIView) -> Actor:
    actor = view.request.auth
    assert isinstance(actor, Actor), "the permission classes let nobody in without an actor"
    return actor


class TenantScoped:
    """A list or detail view over `model`; another tenant's row does not exist for it."""

    model: Any
    newest_first: tuple[str, ...] = ("-id",)
    related: tuple[str, ...] = ()

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.model.objects.none()
        rows = self.model.objects.filter(tenant_id=actor_of(self).tenant_id)  # type: ignore[arg-type]
        return rows.select_related(*self.related) if self.related else rows
