"""What the activities share: writing a run's records under the epoch of the workflow that sent them."""

from django.db import DatabaseError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflows.database_errors import is_of_the_data
from workflows.projections.writer import Record, record_batch
from workflows.temporal import gateway


def write_records(records: list[Record], *, tenant_id: str, run_id: str, first_execution_id: str) -> bool:
    """False: the workflow that sent them is not the current one any more (a reset), and nothing was written."""
    info = activity.info()
    workflow_id = info.workflow_id
    if workflow_id is None or info.workflow_run_id is None:
        raise RuntimeError("projection records come from workflows only")
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
        if not is_of_the_data(error):
            raise
        # Repeating it would not help; the pump ends the run as EngineCorruption.
        raise ApplicationError(
            f"the records cannot be stored: {error}", type="RecordsRefused", non_retryable=True
        ) from error
    if not written:
        activity.logger.warning("records of a past epoch were dropped", extra={"run_id": run_id})
    return written
