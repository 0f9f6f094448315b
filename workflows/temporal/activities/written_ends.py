"""The end of an attempt that an earlier execution of the same activity has written.

If a worker is lost after this write, Temporal does not get its reply and repeats the activity. The repetition must give
the same reply. Otherwise the workflow would continue with another result than the row shows, and a rebuild from the
history would write another row.
"""

from temporalio import activity

from workflows.engine.clock import ms_of_datetime
from workflows.models import RunStep
from workflows.temporal import contracts


def written_reply(request: contracts.ActionRequest) -> contracts.ActionReply | None:
    """Return the reply that belongs to the row. Return None if this is the first execution, or the end is not written.

    Cost: one query in a repeated execution, otherwise none.
    """
    info = activity.info()
    if info.attempt == 1:
        return None
    row = RunStep.objects.filter(
        tenant_id=request.tenant_id,
        run_id=request.run_id,
        step_path=request.step_path,
        iteration=request.iteration,
        attempt=request.attempt,
        projection_epoch=info.workflow_run_id,
        projection_seq=request.end_seq,
    ).first()
    if row is None or row.ended_at is None:
        return None
    return contracts.ActionReply(output=row.output, error=row.error, ended_at_ms=ms_of_datetime(row.ended_at))
