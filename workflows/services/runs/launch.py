"""Launch of a run. It inserts the row with status STARTING, then starts the workflow in Temporal.

The workflow id is derived from the run id, and Temporal refuses a second workflow with the same id. So the portal can
repeat a launch until its outcome is known.

Source: docs/reference/authority.md#projection-writers
"""

import logging
import uuid
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.utils import timezone

from workflows.concurrency_keys import require_present
from workflows.engine.clock import ms_of_datetime
from workflows.engine.errors import Category
from workflows.engine.machine import SEMANTICS_VERSION
from workflows.models import DefinitionVersion, Event, Run
from workflows.models.statements import database_now
from workflows.projections.launches import record_first_run_id, record_launch, record_launch_failed
from workflows.services.runs.keys import run_take_key
from workflows.services.runs.origin import run_origin
from workflows.statuses import RunStatus, TriggerType
from workflows.temporal import gateway
from workflows.temporal.contracts import RunInput

logger = logging.getLogger(__name__)

PREFIX = "pointsman-run-"


def workflow_id_of(run_id: uuid.UUID) -> str:
    return f"{PREFIX}{run_id}"


def run_id_of_workflow(workflow_id: str) -> uuid.UUID | None:
    """Return the run id of a workflow. Return None if this portal did not start the workflow."""
    try:
        return uuid.UUID(workflow_id.removeprefix(PREFIX)) if workflow_id.startswith(PREFIX) else None
    except ValueError:
        return None


def run_launch(
    *,
    version: DefinitionVersion,
    run_id: uuid.UUID,
    payload: dict[str, Any],
    trigger_type: TriggerType,
    trigger_metadata: dict[str, Any],
    event: Event | None = None,
    correlation_key: str = "",
    replay_of: Run | None = None,
    requested_by: str,
    admit: Callable[[], None] | None = None,
) -> Run:
    """Insert the row of a run, start its workflow, and return the row.

    If another run with the same concurrency key is open, the start is refused or queued. The workflow of a queued start
    is started later, and its row has `queued_until`.

    `admit` is called in the transaction that inserts the row. It raises an error if the run may not start now.

    Idempotency: a repeat with the same `run_id` starts the workflow if it was not started before, and changes nothing
    else. Errors: the errors of `admit`, `run_take_key` and `require_present`; TemporalError. After a TemporalError, the
    row stays STARTING, and a repeat continues with this row.
    """
    tenant_id = version.tenant_id
    run = Run(
        id=run_id,
        tenant_id=tenant_id,
        definition=version.definition,
        definition_version=version,
        definition_key=version.definition.key,
        version=version.version,
        definition_hash=version.definition_hash,
        semantics_version=SEMANTICS_VERSION,
        trigger_type=trigger_type,
        trigger_metadata=trigger_metadata,
        event=event,
        correlation_key=event.correlation_key if event else correlation_key,
        replay_of=replay_of,
        temporal_workflow_id=workflow_id_of(run_id),
        input=payload,
        requested_by=requested_by[:200],
        created_at=database_now(),
    )
    with transaction.atomic():
        if admit is not None:
            admit()
        run_take_key(run)
        is_new = record_launch(run)
        if is_new:
            require_present(run.definition)
    if not is_new:
        run = Run.objects.select_related("definition_version", "event").get(tenant_id=tenant_id, id=run_id)
    if run.status == RunStatus.STARTING and not run.temporal_first_run_id and run.queued_until is None:
        run_start_workflow(run)
    return run


def run_launch_child(
    *, parent: Run, version: DefinitionVersion, run_id: uuid.UUID, root_run_id: uuid.UUID, payload: Any, step_path: str
) -> Run:
    """Insert and return the row of a child run. The child's workflow is not started here.

    Only the parent's workflow starts it.

    Call this function inside a transaction. If another run with the same concurrency key is open, the row is queued.

    Idempotency: a repeat with the same `run_id` returns the existing row. Errors: the errors of `run_take_key` and
    `require_present`.
    """
    run = Run(
        id=run_id,
        tenant_id=parent.tenant_id,
        definition=version.definition,
        definition_version=version,
        definition_key=version.definition.key,
        version=version.version,
        definition_hash=version.definition_hash,
        semantics_version=SEMANTICS_VERSION,
        trigger_type=TriggerType.CHILD,
        trigger_metadata={"stepPath": step_path},
        correlation_key=parent.correlation_key,
        parent_run=parent,
        parent_step_path=step_path,
        root_run_id=root_run_id,
        temporal_workflow_id=workflow_id_of(run_id),
        input=payload,
        requested_by=f"run {parent.id}",
    )
    run_take_key(run)
    if not record_launch(run):
        return Run.objects.get(tenant_id=run.tenant_id, id=run_id)
    require_present(run.definition)
    return run


def run_start_workflow(run: Run) -> None:
    """Start the workflow of a run with status STARTING in Temporal.

    Idempotency: it is no error if the workflow was started before.
    Errors: TemporalError.
    """
    version = run.definition_version
    try:
        temporal_run_id = gateway.start_run(
            RunInput(
                run_id=str(run.id),
                tenant_id=str(run.tenant_id),
                definition_key=run.definition_key,
                version=run.version,
                definition_text=version.canonical_text,
                definition_hash=run.definition_hash,
                semantics_version=run.semantics_version,
                payload=run.input,
                trigger_event_id=run.event.event_id if run.event else "",
                accepted_at_ms=ms_of_datetime(run.event.received_at if run.event else run.created_at),
            ),
            workflow_id=run.temporal_workflow_id,
            origin=run_origin(run),
        )
    except gateway.TemporalAlreadyStarted:
        return  # the run's own projection records fill the row
    record_first_run_id(tenant_id=run.tenant_id, run_id=run.id, temporal_run_id=temporal_run_id)


def run_end_unstarted(run: Run, reason: str, *, code: str) -> None:
    """Close a run that Temporal will never accept. The reason becomes the run's error."""
    logger.error("run %s was never started and is now closed, because Temporal rejected the run: %s", run.id, reason)
    run_error = {
        "category": str(Category.VALIDATION),
        "message": reason,
        "nodePath": "",
        "at": timezone.now().isoformat(),
        "code": code,
    }
    record_launch_failed(tenant_id=run.tenant_id, run_id=run.id, error=run_error)
