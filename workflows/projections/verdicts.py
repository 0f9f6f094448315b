"""What a run's records mean for deliveries: the workflow's verdicts on events, and a free place for a trigger that waits.

Called under the lock of the run's row, by the writer of projections only.
"""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.db import transaction

from workflows.concurrency import held_starts_wake
from workflows.event_outcomes import deliveries_changing
from workflows.models import Event, EventDelivery, Run
from workflows.models.statements import update_rows
from workflows.statuses import DeliveryStatus


def write_verdicts(records: list[dict[str, Any]], *, run: Run) -> None:
    """What the workflow decided about signalled events. `matched` is final: a later repeat does not unsay it."""
    told: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        key = (record["waitId"], record["eventId"])
        if key not in told or told[key]["verdict"] != DeliveryStatus.MATCHED:
            told[key] = record
    if not told:
        return
    events = Event.objects.filter(
        tenant_id=run.tenant_id, event_id__in={event_id for _, event_id in told}, occupies_id=True
    )
    with deliveries_changing(events) as locked:
        names = {event.id: event.event_id for event in locked}
        deliveries = EventDelivery.objects.filter(
            tenant_id=run.tenant_id, event__in=locked, wait_id__in={wait_id for wait_id, _ in told}
        ).exclude(status__in=[DeliveryStatus.MATCHED, DeliveryStatus.DISCARDED])
        changed = []
        for delivery in deliveries:
            verdict = told.get((str(delivery.wait_id), names[delivery.event_id]))
            if verdict is not None:
                delivery.status, delivery.reason = verdict["verdict"], verdict["reason"][:500]
                delivery.decided_at = datetime.fromtimestamp(verdict["at"] / 1000, tz=UTC)
                changed.append(delivery)
        update_rows(changed, ["status", "reason", "decided_at"])


def wake_held(run: Run) -> None:
    """After the commit: the triggers that have waited longest for a free place of this run's definition have their turn."""
    transaction.on_commit(partial(held_starts_wake, tenant_id=run.tenant_id, definition_id=run.definition_id))
