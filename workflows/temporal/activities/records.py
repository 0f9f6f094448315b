"""Activities that write projection records, and the look for events of a wait that opens (docs/reference/engine.md#event-waits, docs/reference/engine.md#cost)."""

from temporalio import activity

from workflows.services.wait_lookback import wait_look_for_events
from workflows.temporal import contracts
from workflows.temporal.activities.projecting import write_records


@activity.defn(name=contracts.ACTIVITY_WRITE_RECORDS, no_thread_cancel_exception=True)
def write_records_activity(request: contracts.RecordsRequest) -> None:
    _write(request)


@activity.defn(name=contracts.ACTIVITY_OPEN_WAIT, no_thread_cancel_exception=True)
def open_wait_activity(request: contracts.RecordsRequest) -> None:
    """Write the wait and commit; then, in a new statement, look for events that came before it.

    An event and a wait that are committed at the same moment are found by at least one of the two looks, because each
    looks after its own commit.
    """
    if _write(request):
        wait_look_for_events(tenant_id=request.tenant_id, wait_id=request.wait_id)


def _write(request: contracts.RecordsRequest) -> bool:
    return write_records(
        request.records,
        tenant_id=request.tenant_id,
        run_id=request.run_id,
        first_execution_id=request.first_execution_id,
    )
