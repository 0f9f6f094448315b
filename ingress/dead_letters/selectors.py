"""Queries of the dead-letter inbox: counts, and forecasts of redeliveries."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet

from ingress.explain.forecast import Forecast, forecast_as_json, tasks_of, trigger_forecast, wait_forecast
from workflows.event_redaction import EventRedaction
from workflows.models import EventDelivery, HumanTask, OutboxEvent
from workflows.models.read_only import reading_only
from workflows.redaction import Rules, rules_of
from workflows.statuses import DeliveryStatus

UNKNOWN = {"result": "refused", "code": "DELIVERY_NOT_FOUND", "message": "There is no such delivery in this tenant."}


def outbox_refused(*, tenant_id: uuid.UUID) -> QuerySet[OutboxEvent]:
    """Return the outbox rows that can never become events, the newest first."""
    return OutboxEvent.objects.filter(tenant_id=tenant_id, refused_at__isnull=False).order_by("-refused_at")


def not_dead(status: str) -> dict[str, str]:
    message = f"The delivery is {status}. Only a dead delivery can be redelivered or discarded."
    return {"result": "refused", "code": "DELIVERY_NOT_DEAD", "message": message}


def deliveries_forecast(*, tenant_id: uuid.UUID, delivery_ids: Sequence[uuid.UUID]) -> list[dict[str, Any]]:
    """Return a forecast of the redelivery for each delivery id, in the order of the ids.

    Shapes: `{id, result, code, message, forecast? {status, why}}` for each id.
    """
    with reading_only():
        rows = EventDelivery.objects.filter(tenant_id=tenant_id, id__in=delivery_ids).select_related(
            "event", "wait__run", "definition", "definition_version"
        )
        known = {row.id: row for row in rows}
        tasks = tasks_of([row.wait for row in known.values() if row.wait])
        rules = rules_of(tenant_id)
        return [_result(delivery_id, known.get(delivery_id), tasks, rules) for delivery_id in delivery_ids]


def _result(
    delivery_id: uuid.UUID, delivery: EventDelivery | None, tasks: dict[uuid.UUID, HumanTask], rules: Rules
) -> dict[str, Any]:
    result: dict[str, Any] = {"id": str(delivery_id), "result": "would_redeliver", "code": None, "message": None}
    if delivery is None:
        return {**result, **UNKNOWN}
    if delivery.status != DeliveryStatus.DEAD:
        return {**result, **not_dead(delivery.status)}
    redaction = EventRedaction(delivery.event, rules)
    return {**result, "forecast": forecast_as_json(_forecast(delivery, tasks), redaction)}


def _forecast(delivery: EventDelivery, tasks: dict[uuid.UUID, HumanTask]) -> Forecast:
    if delivery.wait is not None:
        return wait_forecast(delivery.wait, delivery.event, task=tasks.get(delivery.wait.id))
    if delivery.definition is None or delivery.definition_version is None:
        raise ValueError(f"delivery {delivery.id} has neither a wait nor a definition")
    return trigger_forecast(delivery.definition, delivery.definition_version, delivery.event)
