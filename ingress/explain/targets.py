"""Target of the decision on each event of a list, for readers."""

import uuid
from collections.abc import Sequence

from django.db.models import Case, OuterRef, Subquery, Value, When

from workflows.models import Event, EventDelivery
from workflows.selectors.delivery_targets import waiting_step
from workflows.statuses import DeliveryStatus, OutcomeCode

# The status of the deliveries that a decision is about. The sentence of a hold names its definition itself.
_STATUS = {
    OutcomeCode.MATCHED: DeliveryStatus.MATCHED,
    OutcomeCode.STARTED: DeliveryStatus.STARTED,
    OutcomeCode.FILTERED: DeliveryStatus.FILTERED,
    OutcomeCode.RUN_UNKNOWN: DeliveryStatus.LATE,
    OutcomeCode.WAIT_CLOSED: DeliveryStatus.LATE,
    OutcomeCode.NOT_STARTED: DeliveryStatus.SKIPPED,
    OutcomeCode.DEAD: DeliveryStatus.DEAD,
    OutcomeCode.PARTLY_DEAD: DeliveryStatus.DEAD,
    OutcomeCode.DISCARDED: DeliveryStatus.DISCARDED,
}


def decided_targets(events: Sequence[Event]) -> dict[uuid.UUID, EventDelivery]:
    """Return one delivery for each event of which the decision names a target, with its run, wait and definition.

    Each row has the annotation `step_name`. Cost: one statement, without payloads. It reads one delivery for each
    event.
    """
    status = Case(*[When(outcome_code=code, then=Value(status)) for code, status in _STATUS.items()])
    first = EventDelivery.objects.filter(
        tenant_id=OuterRef("tenant_id"), event=OuterRef("pk"), status=OuterRef("shown")
    ).values("id")[:1]
    chosen = (
        Event.objects.filter(id__in=[event.id for event in events if event.outcome_code in _STATUS])
        .annotate(shown=status)
        .values(first=Subquery(first))
    )
    rows = EventDelivery.objects.filter(id__in=chosen).annotate(step_name=waiting_step())
    rows = rows.select_related("run__definition", "wait", "definition").only(
        "id", "event_id", "run__id", "run__correlation_key", "run__definition__name", "wait__step_id",
        "definition__name",
    )  # fmt: skip
    return {row.event_id: row for row in rows}
