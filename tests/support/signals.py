"""Signals to a run, sent without events and deliveries."""

from tests.support.factories import eventually
from workflows.models import Run
from workflows.temporal import contracts, gateway


def send_signal(run: Run, number: int, wait_id: str) -> None:
    """Signal an event to a wait, as the dispatcher does. Repeat while the run continues as a new execution."""
    event = contracts.EventSignal(f"e-{number}", "TICKET_CUSTOMER_REPLIED", "T-1", wait_id, {"n": number}, "now")

    def sent() -> bool:
        try:
            gateway.signal_event(event, workflow_id=run.temporal_workflow_id, request_id=f"r-{number}")
        except gateway.TemporalBusy:
            return False
        return True

    eventually(sent, what="Temporal accepts the signal")
