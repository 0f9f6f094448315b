"""Delivery of stored events to their targets: attempts, retries and results.

- Deliveries are independent. A failed delivery does not stop other deliveries.
- A worker claims deliveries with `SKIP LOCKED` and a lease. Two workers never attempt the same delivery at the same
  time. The claims of a killed worker expire.
- The number of claims per tenant is limited. So a flood of events for one tenant leaves workers for the other tenants.
- An outage of Temporal does not count towards DELIVERY_MAX_ATTEMPTS. A refusal by Temporal does.

Source: docs/reference/events.md#routing
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
from workflows.services.wait_lookback import wait_look_for_events
from workflows.statuses import DeliveryKind, DeliveryStatus
from workflows.temporal import gateway
from workflows.tenant_starts import held_starts_recheck

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
BATCH = 20
MAX_BACKOFF_SECONDS = 300
# When a slot becomes free, a held start is due at once. This retry helps if the portal missed the release of the slot.
HELD_RETRY_SECONDS = 60
# A resume makes held starts due. This retry helps if a bundle resumed the definition and the portal was killed then.
PAUSED_RETRY_SECONDS = 600
FIRST_BUSY_SECONDS, LONGEST_BUSY_SECONDS = 0.05, 5.0
QUIET_SECONDS = 1.0
KEPT_ATTEMPTS = 10
# After an attempt with such a status, the workflow gets no event and gives no verdict. So the wait must search again
# without a verdict.
WAIT_IS_FREE = (DeliveryStatus.DEAD, DeliveryStatus.FILTERED)
_ADVISORY_CLASS = 5_041  # class of the advisory locks for claims

_ATTEMPT_FIELDS = ["claimed_until", "attempt_log", "sent_at", "run"]
_DECISION_FIELDS = ["status", "reason", "decided_at", "next_attempt_at", "held_since", "failures"]


@dataclass(frozen=True)
class Attempt:
    """Result of one delivery attempt. `status` is the status that the delivery gets.

    `is_failure`: the attempt counts towards DELIVERY_MAX_ATTEMPTS. `is_held`: the definition is paused, or it has no
    free slot, or the tenant accepts no start (`of_tenant`). `is_outage`: Temporal did not respond, so further attempts
    would fail too. `is_busy`: the run cannot take a signal at this moment. The next attempt is due before the next
    sweep, so the worker must send a queue notification for it.
    """

    status: str
    reason: str = ""
    wait_seconds: float = 0
    is_failure: bool = False
    is_held: bool = False
    is_outage: bool = False
    is_busy: bool = False
    of_tenant: bool = False


Attempted = tuple[EventDelivery, Attempt]


class _Pause:
    """Pause of this process after an outage of Temporal. Without the pause, every worker would try every delivery."""

    until = 0.0


_pause = _Pause()


def events_deliver_due(*, tenant_id: uuid.UUID, stop_at: float) -> int | None:
    """Attempt the due deliveries of a tenant. Begin with the delivery that has waited longest.

    Return the number of attempts.

    Return None if this worker can do nothing now. There are three reasons. Temporal was unavailable a moment ago. Or
    other workers hold all claims of the tenant. Or other workers hold claims for the waits of all due deliveries, and
    will continue with the deliveries of these waits.

    Units: `stop_at` is a time of `time.monotonic`. At this time, claimed deliveries without an attempt are released.
    """
    if time.monotonic() < _pause.until:
        return None
    claimed = _claim_for_tenant(tenant_id)
    if claimed is None:
        return None
    attempted: list[Attempted] = []
    busy_waits: set[uuid.UUID] = set()
    for delivery in claimed:
        if delivery.wait_id in busy_waits:
            continue
        attempt = _attempt(delivery)
        attempted.append((delivery, attempt))
        if attempt.is_busy and delivery.wait_id:  # a trigger delivery has no wait, so it delays no other one
            busy_waits.add(delivery.wait_id)
        if attempt.is_outage:
            _pause.until = time.monotonic() + QUIET_SECONDS
        if attempt.is_outage or time.monotonic() > stop_at:
            break
    attempted_ids = {delivery.id for delivery, _ in attempted}
    _release([delivery for delivery in claimed if delivery.id not in attempted_ids])
    _record_attempts(attempted)
    return len(attempted)


def due_deliveries(**of: Any) -> QuerySet[EventDelivery]:
    """Return the pending deliveries that are due and not claimed. The delivery that has waited longest is first."""
    now = timezone.now()
    due = EventDelivery.objects.filter(_unclaimed(now), status=DeliveryStatus.PENDING, next_attempt_at__lte=now, **of)
    return due.order_by("next_attempt_at", "event__received_at", "id")


def _unclaimed(now: datetime) -> Q:
    return Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)


# -- Claims -----------------------------------------------------------------------------------------------------------


def _claim_for_tenant(tenant_id: uuid.UUID) -> list[EventDelivery] | None:
    """Claim due deliveries. Return None if other workers have claimed so many that this worker may claim none."""
    own_limit = Tenant.objects.filter(id=tenant_id).values_list("delivery_concurrency_limit", flat=True).first()
    limit = own_limit or settings.DELIVERY_TENANT_LIMIT
    with transaction.atomic():
        with connection.cursor() as cursor:  # two workers must not use the same free claims
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_ADVISORY_CLASS, str(tenant_id)])
        claims = EventDelivery.objects.filter(tenant_id=tenant_id, claimed_until__gt=timezone.now())
        waits = list(claims.values_list("wait_id", flat=True))
        if len(waits) >= limit:
            return None
        # The events of one wait are delivered in order. If another worker has claimed events of a wait, that worker
        # also delivers the other events of this wait.
        due = due_deliveries(tenant_id=tenant_id).exclude(wait_id__in=[wait_id for wait_id in waits if wait_id])
        return _claim(due, limit=min(BATCH, limit - len(waits))) or (None if waits else [])


def _claim(deliveries: QuerySet[EventDelivery], *, limit: int) -> list[EventDelivery]:
    """Claim up to `limit` deliveries that are due and not claimed. A claim is valid for the time of the lease."""
    now = timezone.now()
    with transaction.atomic():
        free = deliveries.filter(_unclaimed(now), status=DeliveryStatus.PENDING, next_attempt_at__lte=now)
        ids = list(
            free.select_for_update(skip_locked=True, no_key=True, of=("self",)).values_list("id", flat=True)[:limit]
        )
        EventDelivery.objects.filter(id__in=ids).update(claimed_until=now + LEASE, attempts=F("attempts") + 1)
    claimed = EventDelivery.objects.select_related(
        "event", "wait", "run", "definition", "definition_version__definition"
    ).filter(id__in=ids)
    return sorted(claimed, key=lambda delivery: ids.index(delivery.id))


def _release(deliveries: Sequence[EventDelivery]) -> None:
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
        retry = PAUSED_RETRY_SECONDS if held.is_paused else HELD_RETRY_SECONDS
        seconds = retry * random.uniform(1, 1.5)  # noqa: S311  not for secrets
        return Attempt(DeliveryStatus.PENDING, str(held), seconds, is_held=True, of_tenant=held.of_tenant)
    except gateway.TemporalBusy as error:
        failures = _failures_in_a_row(delivery) + 1
        seconds = backoff_seconds(failures, first=FIRST_BUSY_SECONDS, longest=LONGEST_BUSY_SECONDS)
        return Attempt(DeliveryStatus.PENDING, f"the run is busy: {error}", seconds, is_busy=True)
    except (gateway.TemporalUnreachable, gateway.TemporalTimeout) as error:
        reason = f"Temporal did not respond: {error}"
        return Attempt(DeliveryStatus.PENDING, reason, _backoff(_failures_in_a_row(delivery) + 1), is_outage=True)
    except Exception as error:
        logger.exception("delivery %s failed", delivery.id)
        is_last = delivery.failures + 1 >= settings.DELIVERY_MAX_ATTEMPTS
        return Attempt(
            DeliveryStatus.DEAD if is_last else DeliveryStatus.PENDING,
            f"{type(error).__name__}: {error}",
            _backoff(delivery.failures + 1),
            is_failure=True,
        )


def _failures_in_a_row(delivery: EventDelivery) -> int:
    """Return the number of consecutive failed attempts at the end of the attempt log."""
    failed = itertools.takewhile(lambda entry: entry["outcome"] == "failed", reversed(delivery.attempt_log))
    return sum(1 for _ in failed)


def _backoff(failures: int) -> float:
    first = settings.DELIVERY_BACKOFF_SECONDS
    return backoff_seconds(failures, first=first, longest=MAX_BACKOFF_SECONDS, with_jitter=True)


# -- Results of attempts ----------------------------------------------------------------------------------------------


def _record_attempts(attempted: Sequence[Attempted]) -> None:
    """Write the results of attempts to the rows of their deliveries, and write the outcomes of the events.

    During the attempt, the workflow's verdict or an operator may have decided the delivery. Such a decision is kept,
    and only the attempt is logged.
    """
    if not attempted:
        return
    now = timezone.now()
    with deliveries_changing(Event.objects.filter(id__in={delivery.event_id for delivery, _ in attempted})):
        undecided, decided = _split_by_decision(attempted)
        _write_decisions(undecided, now)
        _log_attempts(decided, now)
    for delivery, attempt in attempted:
        if attempt.is_busy:
            notify_dispatcher(delivery.tenant_id, after=attempt.wait_seconds)
    for delivery, attempt in attempted:
        if delivery.wait_id and attempt.status in WAIT_IS_FREE:  # the wait can take its next event
            wait_look_for_events(tenant_id=str(delivery.tenant_id), wait_id=str(delivery.wait_id))
    held_attempts = [(delivery, attempt.of_tenant) for delivery, attempt in attempted if attempt.is_held]
    for tenant_id in {delivery.tenant_id for delivery, of_tenant in held_attempts if of_tenant}:
        ids = {delivery.id for delivery, of_tenant in held_attempts if of_tenant and delivery.tenant_id == tenant_id}
        held_starts_recheck(tenant_id, ids)
    held = {(delivery.tenant_id, delivery.definition_id) for delivery, of_tenant in held_attempts if not of_tenant}
    for tenant_id, definition_id in held:
        if definition_id is not None:
            held_starts_wake(tenant_id=tenant_id, definition_id=definition_id)


def _split_by_decision(attempted: Sequence[Attempted]) -> tuple[list[Attempted], list[Attempted]]:
    """Return the attempts of deliveries that are still pending, and the attempts of decided deliveries."""
    ids = [delivery.id for delivery, _ in attempted]
    pending = EventDelivery.objects.filter(id__in=ids, status=DeliveryStatus.PENDING)
    pending_ids = set(pending.values_list("id", flat=True))
    undecided = [item for item in attempted if item[0].id in pending_ids]
    return undecided, [item for item in attempted if item[0].id not in pending_ids]


def _write_decisions(attempted: Sequence[Attempted], now: datetime) -> None:
    """Log the attempts. Write the next status and the time of the next attempt to the deliveries."""
    for delivery, attempt in attempted:
        _add_to_log(delivery, attempt, now)
        delivery.status, delivery.reason = attempt.status, attempt.reason[:500]
        delivery.next_attempt_at = now + timedelta(seconds=attempt.wait_seconds)
        delivery.failures += 1 if attempt.is_failure else 0
        delivery.held_since = (delivery.held_since or now) if attempt.is_held else None
        if attempt.status not in (DeliveryStatus.SENT, DeliveryStatus.PENDING):
            delivery.decided_at = now
    update_rows([delivery for delivery, _ in attempted], [*_ATTEMPT_FIELDS, *_DECISION_FIELDS])
    for delivery, attempt in attempted:
        if (attempt.is_outage or attempt.is_busy) and delivery.wait_id:
            _delay_later_events(delivery)


def _log_attempts(attempted: Sequence[Attempted], now: datetime) -> None:
    """Log the attempts, and do not change the decisions on the deliveries."""
    for delivery, attempt in attempted:
        _add_to_log(delivery, attempt, now)
    update_rows([delivery for delivery, _ in attempted], _ATTEMPT_FIELDS)


def _delay_later_events(delivery: EventDelivery) -> None:
    """Delay the other deliveries to the same wait until this delivery is due. So the wait gets its events in order."""
    others = EventDelivery.objects.filter(
        tenant_id=delivery.tenant_id, wait_id=delivery.wait_id, status=DeliveryStatus.PENDING
    )
    others.filter(next_attempt_at__lt=delivery.next_attempt_at).update(next_attempt_at=delivery.next_attempt_at)


def _add_to_log(delivery: EventDelivery, attempt: Attempt, now: datetime) -> None:
    """Release the claim of a delivery and add the attempt to its log. The changed fields are _ATTEMPT_FIELDS."""
    is_failed = attempt.status in (DeliveryStatus.PENDING, DeliveryStatus.DEAD)
    outcome = "held" if attempt.is_held else "failed" if is_failed else attempt.status
    entry = {"at": now.isoformat(), "attempt": delivery.attempts, "outcome": str(outcome)}
    if attempt.reason:
        entry["reason"] = attempt.reason[:500]
    delivery.attempt_log = [*delivery.attempt_log, entry][-KEPT_ATTEMPTS:]
    delivery.claimed_until = None
    if attempt.status in (DeliveryStatus.SENT, DeliveryStatus.STARTED, DeliveryStatus.LATE):
        delivery.sent_at = now
    if attempt.status == DeliveryStatus.STARTED and delivery.definition_id:
        delivery.run_id = run_id_of(delivery.event_id, delivery.definition_id)
