"""Activities that write projection records, and the lookback of a wait (docs/reference/engine.md#event-waits)."""

from temporalio import activity

from workflows.engine.clock import datetime_of_ms
from workflows.engine.records import records_from_json
from workflows.services.wait_lookback import is_event_left, wait_look_for_events
from workflows.temporal import contracts
from workflows.temporal.activities.projecting import write_records


@activity.defn(name=contracts.ACTIVITY_WRITE_RECORDS, no_thread_cancel_exception=True)
def write_records_activity(request: contracts.RecordsRequest) -> None:
    _write(request)


@activity.defn(name=contracts.ACTIVITY_OPEN_WAIT, no_thread_cancel_exception=True)
def open_wait_activity(request: contracts.RecordsRequest) -> None:
    """Write and commit the wait. Then search, in a new statement, for events that came before the wait.

    Routing also searches for waits after its own commit. So if an event and a wait are committed at the same moment, at
    least one of the two searches finds the row of the other.
    """
    if _write(request):
        wait_look_for_events(tenant_id=request.tenant_id, wait_id=request.wait_id)


@activity.defn(name=contracts.ACTIVITY_SEARCH_EVENTS, no_thread_cancel_exception=True)
def search_events_activity(request: contracts.RecordsRequest) -> bool:
    """Return True if an event that was accepted before the deadline of the wait has no verdict yet."""
    if not _write(request):
        return False
    until = datetime_of_ms(request.until_ms)
    return is_event_left(tenant_id=request.tenant_id, wait_id=request.wait_id, until=until)


def _write(request: contracts.RecordsRequest) -> bool:
    return write_records(
        records_from_json(request.records),
        tenant_id=request.tenant_id,
        run_id=request.run_id,
        first_execution_id=request.first_execution_id,
    )
