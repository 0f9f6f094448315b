"""Pause and resume of definitions, and the starts that a pause holds (docs/reference/events.md#routing).

A pause holds event starts. Their deliveries stay `pending` with `held_since`. At the resume, the author chooses whether
they start or are skipped.
"""

from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.actors import Actor
from workflows.concurrency import held_starts, held_starts_wake
from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import Conflict, InputInvalid
from workflows.event_outcomes import deliveries_changing
from workflows.models import Definition, Event, EventDelivery
from workflows.services.definitions.changes import definition_change, require_not_archived, require_reason
from workflows.statuses import CommandAction, DeliveryStatus, HeldChoice

BATCH = 500


@dataclass(frozen=True)
class Resumed:
    """Result of a resume. `held` is the number of starts that the pause held. `choice` says what happens to them."""

    definition: Definition
    held: int
    choice: HeldChoice | None


def definition_pause(*, actor: Actor, key: str, reason: str, idempotency_key: str = "") -> Definition:
    """Pause a definition.

    While it is paused, event starts are held, and other starts are refused. Open runs continue.

    Errors: PermissionRefused, NotFound; InputInvalid REASON_REQUIRED; Conflict DEFINITION_PAUSED if it is paused
    already, DEFINITION_ARCHIVED.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.PAUSE,
        to="pause definitions",
        reason=reason,
        idempotency_key=idempotency_key,
    ) as change:
        require_reason(reason, to="pause a definition")
        require_not_archived(change.definition)
        if change.definition.is_paused:
            raise Conflict(
                f"{key} is paused already: {change.definition.paused_reason or 'no reason given'}; resume it first",
                code="DEFINITION_PAUSED",
            )
        set_paused(change.definition, by=actor, reason=reason)
        return change.definition


def set_paused(definition: Definition, *, by: Actor, reason: str, is_automatic: bool = False) -> None:
    """Set the columns of a paused definition, but do not save them."""
    definition.is_paused = True
    definition.paused_reason = reason
    definition.paused_at = timezone.now()
    definition.paused_by_name = by.name
    definition.is_auto_paused = is_automatic


def definition_resume(
    *, actor: Actor, key: str, reason: str, held: HeldChoice | None = None, idempotency_key: str = ""
) -> Resumed:
    """Resume a paused definition. The held starts are started or skipped, as `held` says.

    Started: a held start uses the version that is published now, if this version has the same trigger event. The
    concurrency limit applies. Skipped: the deliveries get the status `skipped` with the reason, in this transaction.

    Errors: PermissionRefused, NotFound; InputInvalid REASON_REQUIRED; InputInvalid HELD_STARTS_CHOICE_REQUIRED if
    starts are held and `held` is None; Conflict DEFINITION_NOT_PAUSED, DEFINITION_ARCHIVED.
    """
    with definition_change(
        actor=actor,
        key=key,
        action=CommandAction.UNPAUSE,
        to="resume definitions",
        reason=reason,
        payload=None if held is None else {"heldStarts": held},
        idempotency_key=idempotency_key,
    ) as change:
        definition = change.definition
        require_reason(reason, to="resume a definition")
        require_not_archived(definition)
        if not definition.is_paused:
            raise Conflict(f"{key} is not paused; nothing was changed", code="DEFINITION_NOT_PAUSED")
        count = starts_waiting(definition).count()
        if count and held is None:
            raise InputInvalid(
                f"{count} held starts wait for {key}; choose `start` or `skip` for them",
                code="HELD_STARTS_CHOICE_REQUIRED",
                details={"heldStarts": count},
            )
        if held == HeldChoice.SKIP:
            _skip_held(definition, why=f"skipped when {actor.name} resumed {key}: {reason}"[:500])
        definition.is_paused, definition.is_auto_paused = False, False
        definition.paused_reason, definition.paused_by_name, definition.paused_at = "", "", None
        definition.failures_counted_from = timezone.now()
        definition.save()
        _start_held(definition)
        change.command.details = {"heldStarts": count, "choice": held if count else None}
        return Resumed(definition, count, held if count else None)


def starts_waiting(definition: Definition) -> QuerySet[EventDelivery]:
    """Return the starts that wait for the resume of a definition, or for a slot under its concurrency limit.

    A dispatcher may not have tried the newest starts of a paused definition yet. They count if they were routed after
    the pause.
    """
    if not definition.is_paused:
        return held_starts(tenant_id=definition.tenant_id, definition_id=definition.id)
    pending = held_starts(tenant_id=definition.tenant_id, definition_id=definition.id, also_unheld=True)
    if definition.paused_at is None:  # a bundle has paused it
        return pending
    return pending.filter(Q(held_since__isnull=False) | Q(created_at__gte=definition.paused_at))


def _skip_held(definition: Definition, *, why: str) -> None:
    """Skip the held starts. The events are locked in the order of their ids, as every change of deliveries does."""
    now = timezone.now()
    last = None
    while True:
        rest = starts_waiting(definition).order_by("event_id")
        rest = rest if last is None else rest.filter(event_id__gt=last)
        event_ids = list(rest.values_list("event_id", flat=True)[:BATCH])
        if not event_ids:
            return
        with deliveries_changing(Event.objects.filter(tenant_id=definition.tenant_id, id__in=event_ids)):
            starts_waiting(definition).order_by().filter(event_id__in=event_ids).update(
                status=DeliveryStatus.SKIPPED, reason=why, held_since=None, claimed_until=None, decided_at=now
            )
        last = event_ids[-1]


def _start_held(definition: Definition) -> None:
    """Give held starts the published version and make them due.

    The follow-up after the commit does this too. Here it is part of the transaction, so a crash loses nothing.
    """
    held = held_starts(tenant_id=definition.tenant_id, definition_id=definition.id).order_by()
    version = definition.published_version
    if version is not None:
        held.filter(event__event_type=version.trigger_event_name).update(definition_version=version)
    held_starts_wake(tenant_id=definition.tenant_id, definition_id=definition.id)
    notify_dispatcher_on_commit(definition.tenant_id)
