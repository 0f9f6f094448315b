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
from workflows.engine.run_keys import OnConflict
from workflows.engine.wait_steps import response_in
from workflows.errors import PortalError
from workflows.event_decisions import archived_text, limit_text, paused_text
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, DefinitionVersion, Event, HumanTask, Run, RunWait
from workflows.services.completion_events import completion_problem
from workflows.services.runs.keys import key_forecast
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


def wait_forecast(wait: RunWait, event: Event, *, task: HumanTask | None = None) -> Forecast:
    """Return the forecast of a delivery to a wait. `task` is the human task of the wait, if it has one.

    The rules of the task apply to the sender of the event. The checks are in the same order as for a real delivery.
    """
    if wait.run.status not in OPEN_RUN_STATUSES:
        return Forecast(DeliveryStatus.LATE, f"the run has ended: {wait.run.get_status_display().lower()}")
    if wait.status != WaitStatus.WAITING:
        return Forecast(DeliveryStatus.LATE, f"the wait is closed: {wait.get_status_display().lower()}")
    if wait.kind == WaitKind.HUMAN:
        return _task_forecast(task, event)
    mismatch = first_mismatch(wait.filters, event.payload)
    if mismatch is not None:
        return Forecast(DeliveryStatus.FILTERED, f"the filter on {mismatch['path']} does not match", mismatch=mismatch)
    why = "all filters match" if wait.filters else "the wait has no filters"
    if wait.run.drift_found_at is not None:
        why += ", but the rows of the run differ from Temporal, so the event may have no effect"
    return Forecast(DeliveryStatus.MATCHED, why)


def _task_forecast(task: HumanTask | None, event: Event) -> Forecast:
    if task is not None and (refused := completion_problem(event, task)):
        return Forecast(DeliveryStatus.FILTERED, refused)
    problem = form_problem(task.form_schema if task else None, response_in(event.event_type, event.payload))
    if problem:
        return Forecast(DeliveryStatus.FILTERED, f"the response does not match the form of the task: {problem}")
    why = "the response matches the form of the task"
    if task is not None and not task.allow_system_completion:
        why += "; from a Celery task, a stream or the outbox, the event would not complete the task"
    return Forecast(DeliveryStatus.MATCHED, why)


def trigger_forecast(definition: Definition, version: DefinitionVersion, event: Event) -> Forecast:
    """Return the forecast of a delivery to a trigger. The checks are in the same order as in `event_start_run`."""
    if Run.objects.filter(tenant_id=definition.tenant_id, id=run_id_of(event.id, definition.id)).exists():
        return Forecast(DeliveryStatus.STARTED, "this event has started its run already, and a run starts only once")
    if definition.archived_at is not None:
        return Forecast(DeliveryStatus.SKIPPED, archived_text(definition.key))
    if definition.is_paused:
        return Forecast(DeliveryStatus.PENDING, paused_text(definition.key, definition.paused_reason))
    payload, problem = trigger_input(version, event)
    if problem:
        return Forecast(DeliveryStatus.SKIPPED, problem)
    try:
        key_status, why = key_forecast(definition, payload)
    except PortalError as error:
        return Forecast(DeliveryStatus.SKIPPED, f"{error.message} ({error.code})")
    if key_status == OnConflict.SKIP:
        return Forecast(DeliveryStatus.SKIPPED, why)
    use = slot_use_of_new_start(definition)
    limit = None if use is None else asdict(use)
    if use is not None and not use.has_slot:
        return Forecast(DeliveryStatus.PENDING, limit_text(definition.key, use.reason), limit, payload)
    return Forecast(DeliveryStatus.STARTED, why or "this event starts the published version", limit, payload)


def tasks_of(waits: Collection[RunWait]) -> dict[uuid.UUID, HumanTask]:
    """Return the human tasks of these waits, by wait id. A task and its wait have the same id."""
    ids = [wait.id for wait in waits if wait.kind == WaitKind.HUMAN]
    return HumanTask.objects.select_related("claimed_by").in_bulk(ids) if ids else {}
