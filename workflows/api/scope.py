"""Limitation of views to the rows of the caller's tenant."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.views import APIView

from workflows.actors import Actor
from workflows.api.query import CheckedView


def actor_of(view: APIView) -> Actor:
    """Return the actor of the request."""
    actor = view.request.auth
    assert isinstance(actor, Actor), "The permission classes refuse a request without an actor."
    return actor


class TenantScoped(CheckedView):
    # A list or detail view over the rows of `model` that belong to the tenant. This is a comment, because OpenAPI would
    # take a docstring as the description of each view.
    model: Any
    row_order: tuple[str, ...] = ("-id",)
    related: tuple[str, ...] = ()

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.model.objects.none()
        rows = self.model.objects.filter(tenant_id=actor_of(self).tenant_id)
        return rows.select_related(*self.related) if self.related else rows
