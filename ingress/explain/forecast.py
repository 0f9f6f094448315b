"""What a delivery would come to if it were made now: for "what if", and for the dry run of a redelivery. Reads only.

A forecast of a wait is made with the engine's own filters, and is no more than that: the workflow decides.
"""

import uuid
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from ingress.dispatch.targets import run_id_of, trigger_input
from workflows.concurrency import slot_use_of_new_start
from workflows.engine.filters import first_mismatch
from workflows.engine.json_schema.forms import form_problem
from workflows.engine.wait_steps import response_in
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, DefinitionVersion, Event, HumanTask, Run, RunWait
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryStatus, WaitKind, WaitStatus


@dataclass(frozen=True)
class Forecast:
    """The status that the delivery would end in; `pending` for one that would have to wait for its turn.

    `limit` and `input` are of a trigger: its slots, and what the run would get.
    """

    status: DeliveryStatus
    why: str
    limit: dict[str, int] | None = None
    input: dict[str, Any] | None = None


def forecast_told(forecast: Forecast, redaction: EventRedaction) -> dict[str, str]:
    return {"status": str(forecast.status), "why": redaction.reason(forecast.why)}


def wait_forecast(wait: RunWait, event: Event, *, form_schema: Any = None) -> Forecast:
    """`form_schema` is that of the task, when a person is waited for."""
    if wait.run.status not in OPEN_RUN_STATUSES:
        return Forecast(DeliveryStatus.LATE, f"the run has ended: {wait.run.get_status_display().lower()}")
    if wait.status != WaitStatus.WAITING:
        return Forecast(DeliveryStatus.LATE, f"the wait has closed: {wait.get_status_display().lower()}")
    if wait.kind == WaitKind.HUMAN:
        problem = form_problem(form_schema, response_in(event.event_type, event.payload))
        mismatch = f"the response does not fit the task's form: {problem}" if problem else None
        fits = "the response fits the task's form"
    else:
        mismatch = first_mismatch(wait.filters, event.payload)
        fits = "every filter holds" if wait.filters else "it has no filters"
    if mismatch is not None:
        return Forecast(DeliveryStatus.FILTERED, mismatch)
    return Forecast(DeliveryStatus.MATCHED, fits)


def trigger_forecast(definition: Definition, version: DefinitionVersion, event: Event) -> Forecast:
    """In the order in which the delivery asks."""
    if Run.objects.filter(tenant_id=definition.tenant_id, id=run_id_of(event.id, definition.id)).exists():
        return Forecast(DeliveryStatus.STARTED, "its run was started before, and is started only once")
    if definition.is_paused:
        return Forecast(DeliveryStatus.SKIPPED, f"it is paused: {definition.paused_reason or 'no reason given'}")
    payload, problem = trigger_input(version, event)
    if problem:
        return Forecast(DeliveryStatus.SKIPPED, problem)
    use = slot_use_of_new_start(definition)
    limit = None if use is None else asdict(use)
    if use is not None and not use.has_slot:
        return Forecast(DeliveryStatus.PENDING, use.reason, limit, payload)
    return Forecast(DeliveryStatus.STARTED, "its published version is started by this event", limit, payload)


def form_schemas(waits: Collection[RunWait]) -> dict[uuid.UUID, Any]:
    """The forms of the tasks among these waits; a task has the id of its wait."""
    ids = [wait.id for wait in waits if wait.kind == WaitKind.HUMAN]
    return dict(HumanTask.objects.filter(id__in=ids).values_list("id", "form_schema")) if ids else {}
