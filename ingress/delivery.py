"""One delivery, one attempt (PRODUCT 5.4). Each has its own life: what fails here stops no other.

An attempt is claimed by compare-and-set with a lease, so that two workers never make it at once and a killed one gives it
back. Temporal being down never uses up a delivery's attempts; an answer that says no does.
"""

import logging
import random
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from workflows.models import EventDelivery
from workflows.outcomes import refresh_outcomes
from workflows.services.event_deliver import TriggerHeld, event_deliver_to_wait, event_start_run, run_id_of
from workflows.statuses import DeliveryKind, DeliveryStatus
from workflows.temporal import gateway

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
MAX_BACKOFF_SECONDS = 300
HELD_RETRY_SECONDS = 5
KEPT_ATTEMPTS = 10


def event_deliver(delivery_id: uuid.UUID) -> str:
    """The delivery's status after this attempt; unchanged when it is not due, or another worker has it."""
    delivery = _claim(delivery_id)
    if delivery is None:
        return EventDelivery.objects.values_list("status", flat=True).get(id=delivery_id)
    try:
        status, reason = _attempt(delivery)
    except TriggerHeld as held:
        return _later(delivery, str(held), seconds=HELD_RETRY_SECONDS, counts=False)
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        return _later(delivery, f"Temporal did not answer: {error}", seconds=_backoff(delivery), counts=False)
    except Exception as error:
        logger.exception("delivery %s failed", delivery.id)
        return _later(delivery, f"{type(error).__name__}: {error}", seconds=_backoff(delivery), counts=True)
    return _done(delivery, status, reason)


def due_deliveries(limit: int) -> list[uuid.UUID]:
    """Pending deliveries whose time has come and that nobody holds, the longest waiting first."""
    now = timezone.now()
    return list(
        EventDelivery.objects.filter(_free(now), status=DeliveryStatus.PENDING, next_attempt_at__lte=now)
        .order_by("next_attempt_at")
        .values_list("id", flat=True)[:limit]
    )


def _free(now: datetime) -> Q:
    return Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)


def _claim(delivery_id: uuid.UUID) -> EventDelivery | None:
    now = timezone.now()
    claimed = EventDelivery.objects.filter(
        _free(now), id=delivery_id, status=DeliveryStatus.PENDING, next_attempt_at__lte=now
    ).update(claimed_until=now + LEASE, attempts=F("attempts") + 1)
    if not claimed:
        return None
    return EventDelivery.objects.select_related(
        "event", "wait", "run", "definition", "definition_version__definition"
    ).get(id=delivery_id)


def _attempt(delivery: EventDelivery) -> tuple[str, str]:
    if delivery.kind == DeliveryKind.WAIT:
        return event_deliver_to_wait(delivery)
    return event_start_run(delivery)


def _done(delivery: EventDelivery, status: str, reason: str) -> str:
    """Temporal has it. The workflow's verdict may have come first; then that stands."""
    now = timezone.now()
    changes: dict[str, Any] = {"claimed_until": None, "attempt_log": _log(delivery, status, reason)}
    if delivery.kind == DeliveryKind.TRIGGER and status == DeliveryStatus.STARTED and delivery.definition_id:
        changes["run_id"] = run_id_of(delivery.event_id, delivery.definition_id)
    if status != DeliveryStatus.SKIPPED:
        changes["sent_at"] = now
    with transaction.atomic():
        EventDelivery.objects.filter(id=delivery.id).update(**changes)
        decided = None if status == DeliveryStatus.SENT else now
        EventDelivery.objects.filter(id=delivery.id, status=DeliveryStatus.PENDING).update(
            status=status, reason=reason[:500], decided_at=decided
        )
        refresh_outcomes([delivery.event_id])
    return status


def _later(delivery: EventDelivery, reason: str, *, seconds: float, counts: bool) -> str:
    """Wait for the next attempt; after the last one that counts the delivery is dead, for an operator to decide."""
    failures = _counted_failures(delivery) + (1 if counts else 0)
    is_dead = counts and failures >= settings.DELIVERY_MAX_ATTEMPTS
    changes: dict[str, Any] = {
        "claimed_until": None,
        "reason": reason[:500],
        "attempt_log": _log(delivery, "failed", reason),
        "next_attempt_at": timezone.now() + timedelta(seconds=seconds),
        "details": {"countedFailures": failures},
    }
    if is_dead:
        changes |= {"status": DeliveryStatus.DEAD, "decided_at": timezone.now()}
    with transaction.atomic():
        EventDelivery.objects.filter(id=delivery.id, status=DeliveryStatus.PENDING).update(**changes)
        refresh_outcomes([delivery.event_id])
    return DeliveryStatus.DEAD if is_dead else DeliveryStatus.PENDING


def _counted_failures(delivery: EventDelivery) -> int:
    return int((delivery.details or {}).get("countedFailures", 0))


def _backoff(delivery: EventDelivery) -> float:
    """Doubles with each attempt, between half and the whole of it, so that many that failed together come back apart."""
    whole = min(MAX_BACKOFF_SECONDS, settings.DELIVERY_BACKOFF_SECONDS * 2 ** min(delivery.attempts - 1, 16))
    return float(whole * random.uniform(0.5, 1))  # noqa: S311  not for secrets


def _log(delivery: EventDelivery, outcome: str, reason: str) -> list[dict[str, Any]]:
    entry = {"at": timezone.now().isoformat(), "attempt": delivery.attempts, "outcome": outcome}
    if reason:
        entry["reason"] = reason[:500]
    return [*delivery.attempt_log, entry][-KEPT_ATTEMPTS:]
