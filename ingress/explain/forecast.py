"""Forecasts of deliveries, for "what if" checks and for the dry run of a redelivery. This module only reads.

The forecast for a wait uses the engine's code for filters. The real result can differ, because the workflow decides.
"""

import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from ingress.dispatch.targets import run_id_of, trigger_input
from workflows.concurrency import slot_use_of_new_start
from workflows.engine.filters import first_mismatch
from workflows.engine.json_schema.forms import form_problem
from workflows.engine.records import FilterMismatch
from workflows.engine.wait_steps import response_in
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, DefinitionVersion, Event, HumanTask, Run, RunWait
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryStatus, WaitKind, WaitStatus


@dataclass(frozen=True)
class Forecast:
    """The status that a delivery would get now, and the reason.

    The status `pending` means that the start would be held. Only triggers have `limit` (how many slots are in use) and
    `input` (the input of the run). Only waits have `mismatch`.
    """

    status: DeliveryStatus
    why: str
    limit: dict[str, int] | None = None
    input: dict[str, Any] | None = None
    mismatch: FilterMismatch | None = None


def forecast_as_json(forecast: Forecast, redaction: EventRedaction) -> dict[str, str]:
    return {"status": str(forecast.status), "why": redaction.reason(forecast.why, forecast.mismatch)}


def wait_forecast(wait: RunWait, event: Event, *, form_schema: Any = None) -> Forecast:
    """Return the forecast of a delivery to a wait.

    `form_schema` is the form of the wait's human task, if it has a task.
    """
    if wait.run.status not in OPEN_RUN_STATUSES:
        return Forecast(DeliveryStatus.LATE, f"the run has ended: {wait.run.get_status_display().lower()}")
    if wait.status != WaitStatus.WAITING:
        return Forecast(DeliveryStatus.LATE, f"the wait is closed: {wait.get_status_display().lower()}")
    if wait.kind == WaitKind.HUMAN:
        problem = form_problem(form_schema, response_in(event.event_type, event.payload))
        if problem:
            why = f"the response does not match the form of the task: {problem}"
            return Forecast(DeliveryStatus.FILTERED, why)
        return Forecast(DeliveryStatus.MATCHED, "the response matches the form of the task")
    mismatch = first_mismatch(wait.filters, event.payload)
    if mismatch is not None:
        return Forecast(DeliveryStatus.FILTERED, f"the filter on {mismatch['path']} does not match", mismatch=mismatch)
    return Forecast(DeliveryStatus.MATCHED, "all filters match" if wait.filters else "the wait has no filters")


def trigger_forecast(definition: Definition, version: DefinitionVersion, event: Event) -> Forecast:
    """Return the forecast of a delivery to a trigger. The checks are in the same order as in `event_start_run`."""
    if Run.objects.filter(tenant_id=definition.tenant_id, id=run_id_of(event.id, definition.id)).exists():
        return Forecast(DeliveryStatus.STARTED, "this event has started its run already, and a run starts only once")
    if definition.archived_at is not None:
        return Forecast(DeliveryStatus.SKIPPED, "the definition is archived and starts no more runs")
    if definition.is_paused:
        return Forecast(
            DeliveryStatus.PENDING, f"the definition is paused: {definition.paused_reason or 'no reason given'}"
        )
    payload, problem = trigger_input(version, event)
    if problem:
        return Forecast(DeliveryStatus.SKIPPED, problem)
    use = slot_use_of_new_start(definition)
    limit = None if use is None else asdict(use)
    if use is not None and not use.has_slot:
        return Forecast(DeliveryStatus.PENDING, use.reason, limit, payload)
    return Forecast(DeliveryStatus.STARTED, "this event starts the published version", limit, payload)


def form_schemas(waits: Collection[RunWait]) -> dict[uuid.UUID, Any]:
    """Return the forms of the human tasks of these waits, by wait id. A task and its wait have the same id."""
    ids = [wait.id for wait in waits if wait.kind == WaitKind.HUMAN]
    return dict(HumanTask.objects.filter(id__in=ids).values_list("id", "form_schema")) if ids else {}
