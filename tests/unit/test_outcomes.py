"""The outcome of an event follows from its deliveries (docs/reference/events.md#statuses-and-outcomes)."""

import re

import pytest
from django.utils import timezone

from workflows.event_decisions import MOST_CHARACTERS, decision_sentence
from workflows.event_outcomes import decision_of, set_outcome
from workflows.models import Event
from workflows.statuses import OutcomeCode


@pytest.mark.parametrize(
    ("statuses", "correlation", "buffered", "outcome", "code"),
    [
        (["matched"], "derived", False, "delivered", "matched"),
        (["started", "skipped"], "missing", False, "delivered", "started"),
        (["matched", "started"], "derived", False, "delivered", "matched"),
        (["matched", "dead"], "derived", False, "partly_delivered", "partly_dead"),
        (["matched", "pending"], "derived", False, "delivered", "matched"),
        (["pending", "dead"], "derived", False, "routing", "delivering"),
        (["sent"], "derived", True, "routing", "delivering"),
        (["held", "filtered"], "derived", True, "held", "held"),
        (["held", "sent"], "derived", False, "routing", "delivering"),
        (["held", "started"], "missing", False, "delivered", "started"),
        (["held", "dead"], "missing", False, "held", "held"),
        (["dead", "filtered"], "derived", True, "dead", "dead"),
        (["discarded"], "derived", False, "discarded", "discarded"),
        ([], "missing", False, "uncorrelated", "no_key"),
        ([], "derived", True, "buffered", "no_wait"),
        ([], "derived", False, "unmatched", "no_wait"),
        (["filtered"], "derived", True, "buffered", "filtered"),
        (["filtered", "late"], "derived", False, "unmatched", "filtered"),
        (["late", "lost"], "derived", False, "unmatched", "run_unknown"),
        (["late", "skipped"], "derived", False, "unmatched", "wait_closed"),
        (["skipped", "discarded"], "missing", False, "unmatched", "not_started"),
    ],
)
def test_outcome_of_deliveries(statuses: list[str], correlation: str, buffered: bool, outcome: str, code: str) -> None:
    found = decision_of(statuses, is_routed=True, correlation_status=correlation, is_buffered=buffered)
    assert (found.outcome, found.code) == (outcome, code)
    assert found.reason == decision_sentence(found.code, outcome=outcome, detail="the definition cannot start now")


def test_unrouted_event_is_received() -> None:
    found = decision_of([], is_routed=False, correlation_status="derived", is_buffered=True)
    assert (found.outcome, found.code) == ("received", "not_routed")


def test_each_code_has_a_sentence_of_its_own() -> None:
    sentences = {decision_sentence(code, outcome="unmatched", detail="a reason") for code in OutcomeCode}
    assert len(sentences) == len(OutcomeCode)
    assert all(re.fullmatch(r"[A-Z][^.]+\.( [A-Z][^.]+\.)?", sentence) for sentence in sentences), sentences
    assert len(decision_sentence(OutcomeCode.HELD, outcome="held", detail="x" * 900)) == MOST_CHARACTERS


@pytest.mark.parametrize("had_closed", [True, False])
def test_only_routing_knows_that_a_wait_had_closed(had_closed: bool) -> None:
    event = Event(correlation_status="derived", routed_at=timezone.now())
    set_outcome(event, [], had_closed_wait=had_closed)
    set_outcome(event, [])  # for example at the end of the buffer time
    assert (event.outcome_code == "wait_closed") is had_closed
