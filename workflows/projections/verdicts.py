"""Verdicts of the workflow on signalled events, written to the deliveries.

Call these functions under the lock of the run's row, inside a projection transaction.

Source: docs/reference/events.md#statuses-and-outcomes
"""

from django.db.models import F

from workflows.engine.clock import datetime_of_ms
from workflows.engine.records import VerdictRecord
from workflows.event_outcomes import deliveries_changing
from workflows.ledger import command_decide_completion
from workflows.models import Event, EventDelivery, Run
from workflows.models.statements import update_rows
from workflows.statuses import DeliveryStatus, WaitKind


def record_verdicts(records: list[VerdictRecord], *, run: Run) -> None:
    """Write each verdict to its delivery.

    The verdict `matched` is final. If the event is signalled again, the verdict on the repeat does not replace
    `matched`.
    """
    verdicts: dict[tuple[str, str], VerdictRecord] = {}
    for record in records:
        key = (record["waitId"], record["eventId"])
        if key not in verdicts or verdicts[key]["verdict"] != DeliveryStatus.MATCHED:
            verdicts[key] = record
    if not verdicts:
        return
    events = Event.objects.filter(
        tenant_id=run.tenant_id, event_id__in={event_id for _, event_id in verdicts}, occupies_id=True
    )
    with deliveries_changing(events) as locked:
        names = {event.id: event.event_id for event in locked}
        deliveries = EventDelivery.objects.filter(
            tenant_id=run.tenant_id, event__in=locked, wait_id__in={wait_id for wait_id, _ in verdicts}
        ).exclude(status__in=[DeliveryStatus.MATCHED, DeliveryStatus.DISCARDED])
        deliveries = deliveries.annotate(wait_kind=F("wait__kind"))
        changed = []
        for delivery in deliveries:
            verdict = verdicts.get((str(delivery.wait_id), names[delivery.event_id]))
            if verdict is not None:
                delivery.status, delivery.reason = verdict["verdict"], verdict["reason"][:500]
                delivery.mismatch = verdict.get("mismatch")
                delivery.decided_at = datetime_of_ms(verdict["at"])
                changed.append(delivery)
        update_rows(changed, ["status", "reason", "mismatch", "decided_at"])
    for delivery in changed:
        if delivery.wait_kind == WaitKind.HUMAN:
            command_decide_completion(delivery)
