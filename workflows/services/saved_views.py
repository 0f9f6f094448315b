"""Saved views of the run list: each person has own views, and operators can share a view in the tenant."""

import uuid

from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import InputInvalid, NotFound
from workflows.ledger import target_name
from workflows.models import SavedView
from workflows.services.idempotency import keyed_command_transaction
from workflows.statuses import CommandAction, Role

MOST_VIEWS = 50


def saved_views_of(*, actor: Actor) -> QuerySet[SavedView]:
    """Return the actor's own views and the shared views of the tenant, by name."""
    own = Q(user_id=actor.id) if actor.kind == "user" else Q()
    views = SavedView.objects.filter(own | Q(is_shared=True), tenant_id=actor.tenant_id)
    return views.order_by("name", "user_name")[: 4 * MOST_VIEWS]


def saved_view_save(
    *, actor: Actor, name: str, query: str, is_shared: bool = False, idempotency_key: str = ""
) -> SavedView:
    """Save a view under a name. An own view with the same name is replaced.

    Errors: PermissionRefused if a viewer shares a view; InputInvalid SAVED_VIEWS_FULL.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_VIEW,
        target_type="saved view",
        target_id=target_name(name),
        payload={"operation": "save", "query": query, "shared": is_shared},
        idempotency_key=idempotency_key,
    ):
        if is_shared:
            actor.require(Role.OPERATOR, to="share a view")
        own = SavedView.objects.filter(tenant_id=actor.tenant_id, user_id=actor.id)
        if own.exclude(name=name).count() >= MOST_VIEWS:
            raise InputInvalid(
                f"You have {MOST_VIEWS} saved views, and more are not possible. Delete a view, then save this one.",
                code="SAVED_VIEWS_FULL",
            )
        values = {"query": query, "is_shared": is_shared, "user_name": actor.name[:200], "saved_at": timezone.now()}
        view, _ = SavedView.objects.update_or_create(
            tenant_id=actor.tenant_id, user_id=actor.id, name=name, defaults=values
        )
        return view


def saved_view_delete(*, actor: Actor, view_id: uuid.UUID, idempotency_key: str = "") -> None:
    """Delete an own view. An administrator can also delete a shared view of another person. Errors: NotFound."""
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_VIEW,
        target_type="saved view",
        target_id=str(view_id),
        payload={"operation": "delete"},
        idempotency_key=idempotency_key,
    ):
        saved_view_find(actor=actor, view_id=view_id).delete()


def saved_view_find(*, actor: Actor, view_id: uuid.UUID) -> SavedView:
    """Return a view that the actor may delete. Errors: NotFound."""
    may = Q(user_id=actor.id) | (Q(is_shared=True) if actor.has_role(Role.ADMIN) else Q(pk__in=[]))
    view = SavedView.objects.filter(may, tenant_id=actor.tenant_id, id=view_id).first()
    if view is None:
        raise NotFound(
            "There is no such view of yours. Only its owner or an administrator can delete a shared view.",
            code="SAVED_VIEW_NOT_FOUND",
        )
    return view
