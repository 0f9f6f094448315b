"""The outcome of an event follows from its deliveries (docs/reference/events.md#statuses-and-outcomes)."""

import pytest

from workflows.event_outcomes import outcome_of


@pytest.mark.parametrize(
    ("statuses", "correlation", "buffered", "outcome"),
    [
        (["matched"], "derived", False, "delivered"), (["started", "skipped"], "missing", False, "delivered"),
        (["matched", "dead"], "derived", False, "partly_delivered"),
        (["matched", "pending"], "derived", False, "delivered"),
        (["pending", "dead"], "derived", False, "routing"), (["sent"], "derived", True, "routing"),
        (["held", "filtered"], "derived", True, "held"), (["held", "sent"], "derived", False, "routing"),
        (["held", "started"], "missing", False, "delivered"), (["held", "dead"], "missing", False, "held"),
        (["dead", "filtered"], "derived", True, "dead"), (["discarded"], "derived", False, "discarded"),
        ([], "missing", False, "uncorrelated"), ([], "derived", True, "buffered"), ([], "derived", False, "unmatched"),
        (["filtered"], "derived", True, "buffered"), (["filtered", "late"], "derived", False, "unmatched"),
        (["skipped"], "missing", False, "unmatched"),
    ],
)  # fmt: skip
def test_outcome_of_deliveries(statuses: list[str], correlation: str, buffered: bool, outcome: str) -> None:
    found, reason = outcome_of(statuses, is_routed=True, correlation_status=correlation, is_buffered=buffered)
    assert found == outcome
    assert reason or outcome == "delivered"


def test_unrouted_event_is_received() -> None:
    assert outcome_of([], is_routed=False, correlation_status="derived", is_buffered=True)[0] == "received"
