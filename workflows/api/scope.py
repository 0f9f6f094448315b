"""Limitation of views to the rows of the caller's tenant."""

from typing import Any

from django.db.models import JSONField, QuerySet
from rest_framework.mixins import ListModelMixin
from rest_framework.views import APIView

from workflows.actors import Actor
from workflows.api.list_values import with_short_values
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
    # Columns of related rows that the view does not read.
    unread: tuple[str, ...] = ()

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return self.model.objects.none()
        rows = self.model.objects.filter(tenant_id=actor_of(self).tenant_id)
        rows = rows.select_related(*self.related).defer(*self.unread) if self.related else rows
        return with_short_values(rows, self._list_values()) if isinstance(self, ListModelMixin) else rows

    def _list_values(self) -> list[str]:
        """Return the payload columns of a list. Long values are left out of lists (workflows/api/list_values.py)."""
        serializer: Any = getattr(self, "serializer_class", None)
        shown = [name for name in getattr(serializer, "payload_fields", ()) if name in serializer.Meta.fields]
        own = [name for name in shown if isinstance(self.model._meta.get_field(name), JSONField)]
        return [*own, *getattr(serializer, "related_payloads", ())]
