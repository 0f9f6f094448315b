"""Signals to a run without rows in the portal."""

from tests.support.factories import eventually
from workflows.models import Run
from workflows.temporal import contracts, gateway


def signal(run: Run, number: int, wait_id: str) -> None:
    """An event as the delivery worker signals it, without the portal's rows."""
    event = contracts.EventSignal(f"e-{number}", "TICKET_CUSTOMER_REPLIED", "T-1", wait_id, {"n": number}, "now")

    def sent() -> bool:
        try:
            gateway.signal_event(event, workflow_id=run.temporal_workflow_id, request_id=f"r-{number}")
        except gateway.TemporalBusy:  # the run is going on in a new execution; the delivery worker tries again too
            return False
        return True

    eventually(sent, what="the signal is taken")
