"""Deliveries, each with a life of its own (docs/reference/events.md#routing): what fails here stops no other.

Attempts are claimed with `SKIP LOCKED` and a lease, so that two workers never make one at once and a killed worker gives
it back. A tenant holds at most so many claims at once: a flood of one tenant leaves workers for the others. Temporal being
down never uses up a delivery's attempts; an answer that says no does.
"""

import itertools
import logging
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from ingress.dispatch.targets import TriggerHeld, event_deliver_to_wait, event_start_run, run_id_of
from workflows.backoff import backoff_seconds
from workflows.concurrency import held_starts_wake
from workflows.dispatch_notification import notify_dispatcher
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, Tenant
from workflows.models.statements import update_rows
from workflows.statuses import DeliveryKind, DeliveryStatus
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
BATCH = 20
MAX_BACKOFF_SECONDS = 300
HELD_RETRY_SECONDS = 60  # whatever makes a place free wakes those who wait for it; this is for what nobody saw
FIRST_BUSY_SECONDS, LONGEST_BUSY_SECONDS = 0.05, 5.0
QUIET_SECONDS = 1.0
KEPT_ATTEMPTS = 10
_ADVISORY_CLASS = 5_041  # of our locks of claims, among the advisory locks of the database


@dataclass(frozen=True)
class Attempt:
    """What one attempt came to. `is_outage`: Temporal did not answer; the next ones would fare no better.

    `is_soon`: too soon for the sweep; the bell is rung for it.
    """

    status: str
    reason: str = ""
    wait_seconds: float = 0
    counts: bool = False
    is_held: bool = False
    is_outage: bool = False
    is_soon: bool = False

    @property
    def is_unanswered(self) -> bool:
        return self.is_outage or self.is_soon


class _Pause:
    """Of this process: one call in a while asks whether Temporal is back, instead of every worker in every delivery."""

    until = 0.0


_pause = _Pause()


def event_deliver(delivery_id: uuid.UUID) -> str:
    """The delivery's status after this attempt; unchanged when it is not due, or another worker has it."""
    for delivery in _claimed(EventDelivery.objects.filter(id=delivery_id), limit=1):
        _settle([(delivery, _attempt(delivery))])
    return EventDelivery.objects.values_list("status", flat=True).get(id=delivery_id)


def events_deliver_due(*, tenant_id: uuid.UUID, stop_at: float) -> int | None:
    """Make the attempts of this tenant that are due, the longest waiting first; the number of those made.

    None: not now. Others hold as many claims as there may be, or the waits of all that is due, and they go on; or Temporal
    did not answer a moment ago, and the sweep will ask again.
    Units: `stop_at` is of `time.monotonic`; what is claimed and not tried by then is given back.
    """
    if time.monotonic() < _pause.until:
        return None
    claimed = _claimed_of_tenant(tenant_id)
    if claimed is None:
        return None
    made: list[tuple[EventDelivery, Attempt]] = []
    busy: set[uuid.UUID] = set()
    for delivery in claimed:
        if delivery.wait_id in busy:
            continue
        attempt = _attempt(delivery)
        made.append((delivery, attempt))
        if attempt.is_soon and delivery.wait_id:  # a start has no wait, and holds no other start up
            busy.add(delivery.wait_id)
        if attempt.is_outage:
            _pause.until = time.monotonic() + QUIET_SECONDS
        if attempt.is_outage or time.monotonic() > stop_at:
            break
    tried = {delivery.id for delivery, _ in made}
    _give_back([delivery for delivery in claimed if delivery.id not in tried])
    _settle(made)
    return len(made)


def due_deliveries(**of: Any) -> QuerySet[EventDelivery]:
    """Pending deliveries whose time has come and that nobody holds, the longest waiting first."""
    now = timezone.now()
    due = EventDelivery.objects.filter(_free(now), status=DeliveryStatus.PENDING, next_attempt_at__lte=now, **of)
    return due.order_by("next_attempt_at", "event__received_at", "id")


def _free(now: datetime) -> Q:
    return Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)


# -- Claims -----------------------------------------------------------------------------------------------------------


def _claimed_of_tenant(tenant_id: uuid.UUID) -> list[EventDelivery] | None:
    """None when the tenant has as many claims as it may, or when those who have claims have all that is due."""
    own = Tenant.objects.filter(id=tenant_id).values_list("delivery_concurrency_limit", flat=True).first()
    limit = own or settings.DELIVERY_TENANT_LIMIT
    with transaction.atomic():
        with connection.cursor() as cursor:  # so that two workers do not both count the same free places
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_ADVISORY_CLASS, str(tenant_id)])
        held = EventDelivery.objects.filter(tenant_id=tenant_id, claimed_until__gt=timezone.now())
        waits = list(held.values_list("wait_id", flat=True))
        if len(waits) >= limit:
            return None
        # The events of one wait are tried in their order: whoever has some of them in hand goes on with the others.
        due = due_deliveries(tenant_id=tenant_id).exclude(wait_id__in=[wait_id for wait_id in waits if wait_id])
        return _claimed(due, limit=min(BATCH, limit - len(waits))) or (None if waits else [])


def _claimed(deliveries: QuerySet[EventDelivery], *, limit: int) -> list[EventDelivery]:
    """Of these the free ones that are due, at most `limit`, now held by this worker for the time of the lease."""
    now = timezone.now()
    with transaction.atomic():
        free = deliveries.filter(_free(now), status=DeliveryStatus.PENDING, next_attempt_at__lte=now)
        ids = list(
            free.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("id", flat=True)[:limit]
        )
        EventDelivery.objects.filter(id__in=ids).update(claimed_until=now + LEASE, attempts=F("attempts") + 1)
    claimed = EventDelivery.objects.select_related(
        "event", "wait", "run", "definition", "definition_version__definition"
    ).filter(id__in=ids)
    return sorted(claimed, key=lambda delivery: ids.index(delivery.id))


def _give_back(deliveries: Sequence[EventDelivery]) -> None:
    ids = [delivery.id for delivery in deliveries]
    if ids:
        EventDelivery.objects.filter(id__in=ids).update(claimed_until=None, attempts=F("attempts") - 1)


# -- One attempt ------------------------------------------------------------------------------------------------------


def _attempt(delivery: EventDelivery) -> Attempt:
    try:
        if delivery.kind == DeliveryKind.WAIT:
            return Attempt(*event_deliver_to_wait(delivery))
        return Attempt(*event_start_run(delivery))
    except TriggerHeld as held:
        seconds = HELD_RETRY_SECONDS * random.uniform(1, 1.5)  # noqa: S311  not for secrets
        return Attempt(DeliveryStatus.PENDING, str(held), seconds, is_held=True)
    except gateway.TemporalBusy as error:
        failures = _failed_in_a_row(delivery) + 1
        seconds = backoff_seconds(failures, first=FIRST_BUSY_SECONDS, longest=LONGEST_BUSY_SECONDS)
        return Attempt(DeliveryStatus.PENDING, f"the run is busy: {error}", seconds, is_soon=True)
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        reason = f"Temporal did not answer: {error}"
        return Attempt(DeliveryStatus.PENDING, reason, _backoff(_failed_in_a_row(delivery) + 1), is_outage=True)
    except Exception as error:
        logger.exception("delivery %s failed", delivery.id)
        is_last = delivery.failures + 1 >= settings.DELIVERY_MAX_ATTEMPTS
        return Attempt(
            DeliveryStatus.DEAD if is_last else DeliveryStatus.PENDING,
            f"{type(error).__name__}: {error}",
            _backoff(delivery.failures + 1),
            counts=True,
        )


def _failed_in_a_row(delivery: EventDelivery) -> int:
    """Attempts before this one, up to those that are kept."""
    before = itertools.takewhile(lambda entry: entry["outcome"] == "failed", reversed(delivery.attempt_log))
    return sum(1 for _ in before)


def _backoff(failures: int) -> float:
    first = settings.DELIVERY_BACKOFF_SECONDS
    return backoff_seconds(failures, first=first, longest=MAX_BACKOFF_SECONDS, with_jitter=True)


# -- What came of them ------------------------------------------------------------------------------------------------


def _settle(made: Sequence[tuple[EventDelivery, Attempt]]) -> None:
    """Write what the attempts came to. The workflow's verdict, or an operator's, may have come first; then that stands."""
    if not made:
        return
    now = timezone.now()
    with deliveries_changing(Event.objects.filter(id__in={delivery.event_id for delivery, _ in made})):
        ids = [delivery.id for delivery, _ in made]
        stands = dict(EventDelivery.objects.filter(id__in=ids).values_list("id", "status"))
        for delivery, attempt in made:
            is_undecided = stands.get(delivery.id) == DeliveryStatus.PENDING
            _note(delivery, attempt, now)
            if not is_undecided:
                continue
            delivery.status, delivery.reason = attempt.status, attempt.reason[:500]
            if attempt.status not in (DeliveryStatus.SENT, DeliveryStatus.PENDING):
                delivery.decided_at = now
        decided = [delivery for delivery, _ in made if stands.get(delivery.id) != DeliveryStatus.PENDING]
        update_rows([delivery for delivery, _ in made if delivery not in decided], [*_NOTED, *_DECIDED])
        update_rows(decided, _NOTED)
        for delivery, attempt in made:
            if attempt.is_unanswered and delivery.wait_id and delivery not in decided:
                _hold_back_later_events(delivery)
    for delivery, attempt in made:
        if attempt.is_soon:
            notify_dispatcher(delivery.tenant_id, after=attempt.wait_seconds)
    held = {(delivery.tenant_id, delivery.definition_id) for delivery, attempt in made if attempt.is_held}
    for tenant_id, definition_id in held:
        if definition_id is not None:
            held_starts_wake(tenant_id=tenant_id, definition_id=definition_id)


def _hold_back_later_events(delivery: EventDelivery) -> None:
    """Nobody answered this one, so it keeps its place: what else is due for its wait comes with it, and in its order."""
    others = EventDelivery.objects.filter(
        tenant_id=delivery.tenant_id, wait_id=delivery.wait_id, status=DeliveryStatus.PENDING
    )
    others.filter(next_attempt_at__lt=delivery.next_attempt_at).update(next_attempt_at=delivery.next_attempt_at)


_NOTED = ["claimed_until", "attempt_log", "sent_at", "run"]
_DECIDED = ["status", "reason", "decided_at", "next_attempt_at", "held_since", "failures"]


def _note(delivery: EventDelivery, attempt: Attempt, now: datetime) -> None:
    delivery.claimed_until = None
    delivery.attempt_log = _log(delivery, attempt, now)
    delivery.next_attempt_at = now + timedelta(seconds=attempt.wait_seconds)
    delivery.failures += 1 if attempt.counts else 0
    delivery.held_since = (delivery.held_since or now) if attempt.is_held else None
    if attempt.status in (DeliveryStatus.SENT, DeliveryStatus.STARTED, DeliveryStatus.LATE):
        delivery.sent_at = now
    if attempt.status == DeliveryStatus.STARTED and delivery.definition_id:
        delivery.run_id = run_id_of(delivery.event_id, delivery.definition_id)


def _log(delivery: EventDelivery, attempt: Attempt, now: datetime) -> list[dict[str, Any]]:
    is_failed = attempt.status in (DeliveryStatus.PENDING, DeliveryStatus.DEAD)
    outcome = "held" if attempt.is_held else "failed" if is_failed else attempt.status
    entry = {"at": now.isoformat(), "attempt": delivery.attempts, "outcome": str(outcome)}
    if attempt.reason:
        entry["reason"] = attempt.reason[:500]
    return [*delivery.attempt_log, entry][-KEPT_ATTEMPTS:]
