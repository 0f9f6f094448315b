"""Writing of projection records by activities. The epoch of the records is the execution that sent them."""

from functools import partial

from django.db import DatabaseError, transaction
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflows.database_errors import is_data_error
from workflows.engine.records import Record
from workflows.projections.batches import record_batch
from workflows.services.wait_lookback import wait_look_for_events
from workflows.temporal import gateway


def write_records(records: list[Record], *, tenant_id: str, run_id: str, first_execution_id: str) -> bool:
    """Write the records. Return False if a reset has replaced the workflow that sent them; nothing is then written."""
    info = activity.info()
    workflow_id = info.workflow_id
    if workflow_id is None or info.workflow_run_id is None:
        raise RuntimeError("only an activity of a workflow can write projection records; this activity has no workflow")
    try:
        written = record_batch(
            records,
            tenant_id=tenant_id,
            run_id=run_id,
            epoch=info.workflow_run_id,
            first_run_id=first_execution_id or info.workflow_run_id,
            current_epoch=lambda: gateway.describe_run(workflow_id=workflow_id).run_id,
        )
    except DatabaseError as error:
        if not is_data_error(error):
            raise
        # A retry would fail in the same way. So the workflow ends the run as EngineCorruption.
        raise ApplicationError(
            f"the records cannot be stored: {error}", type="RecordsRefused", non_retryable=True
        ) from error
    if not written:
        activity.logger.warning("records of a past epoch were dropped", extra={"run_id": run_id})
        return False
    # If a wait did not take an event, it can take the next event. If the activity is repeated, it searches again.
    for wait_id in sorted({r["waitId"] for r in records if r["kind"] == "verdict" and r["verdict"] != "matched"}):
        transaction.on_commit(partial(wait_look_for_events, tenant_id=tenant_id, wait_id=wait_id))
    return True
