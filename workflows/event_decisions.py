"""Words of the decision on an event: one sentence for each outcome code.

The list, the box and the trace of the event page, "What if" and the API show the stored sentence. No other module
describes the decision in words of its own.

Source: docs/reference/events.md#statuses-and-outcomes
"""

import re
from datetime import datetime
from typing import Any

from django.utils import timezone

from workflows.statuses import EventOutcome, OutcomeCode

MOST_CHARACTERS = 500
# A sentence of this kind begins with the result. Its beginning differs while a wait can still take the event.
_UNUSED, _UNUSED_YET = "No run used this event.", "No run has used this event yet."
_SENTENCES = {
    OutcomeCode.NOT_ROUTED: "The event is stored and not routed yet.",
    OutcomeCode.ROUTING_FAILED: "The routing of this event failed and is tried again: {detail}.",
    OutcomeCode.DELIVERING: "The event is being delivered.",
    OutcomeCode.HELD: "The event is on hold, because {detail}.",
    OutcomeCode.MATCHED: "A run took the event.",
    OutcomeCode.STARTED: "The event started a run.",
    OutcomeCode.PARTLY_DEAD: "A run used the event. All attempts to deliver it to another target failed.",
    OutcomeCode.FILTERED: "{unused} A run waited for it, but the wait did not accept it.",
    OutcomeCode.RUN_UNKNOWN: "{unused} Temporal does not know the run that waited for it.",
    OutcomeCode.WAIT_CLOSED: "{unused} The wait with this key had closed before the event was delivered.",
    OutcomeCode.NOT_STARTED: "{unused} The definition did not start.",
    OutcomeCode.NO_WAIT: "{unused} No wait had this event type and key.",
    OutcomeCode.NO_KEY: "{unused} The event has no correlation key.",
    OutcomeCode.DEAD: "{unused} All attempts to deliver it failed.",
    OutcomeCode.DISCARDED: "{unused} An operator discarded it.",
    OutcomeCode.PAYLOAD_REJECTED: "The event was rejected, because {detail}.",
    OutcomeCode.ID_CONFLICT: "The event was refused. Its id belongs to an event with another body.",
}


def decision_sentence(code: OutcomeCode, *, outcome: str, detail: str = "") -> str:
    """Return the sentence for a decision. `detail` is the reason of a code whose sentence has a place for it.

    Units: at most `MOST_CHARACTERS` characters.
    """
    unused = _UNUSED_YET if outcome == EventOutcome.BUFFERED else _UNUSED
    sentence = _SENTENCES[code].format(unused=unused, detail=detail.rstrip("."))
    return sentence if len(sentence) <= MOST_CHARACTERS else f"{sentence[: MOST_CHARACTERS - 1]}…"


def problem_text(problem: dict[str, str]) -> str:
    """Return a problem of a payload as text. It has no message for readers who may not see payloads."""
    message = problem.get("message")
    return (problem["pointer"] or "/") + (f": {message}" if message else "")


# -- The end of the buffer time ----------------------------------------------------------------------------------------


def shown_outcome(outcome: str, buffered_until: datetime | None) -> EventOutcome:
    """Return the outcome to show. An event is BUFFERED in the database until the sweep decides, so time matters too."""
    is_over = outcome == EventOutcome.BUFFERED and buffered_until is not None and buffered_until <= timezone.now()
    return EventOutcome.BUFFER_OVER if is_over else EventOutcome(outcome)


def buffer_over_text(taker: dict[str, Any] | None) -> str:
    """Return the sentences after the end of the buffer time.

    Shapes: `taker` is `Event.can_be_taken_by`: `{kind: "start" or "wait", definition, isHeld}`. It is None until the
    sweep has checked the event.
    """
    if taker is None:
        return "Its buffer time is over. The portal decides within seconds if a run can still use it."
    if taker["kind"] == "wait":
        return "Its buffer time is over. The wait with this key decides about an earlier event first."
    state = "on hold" if taker["isHeld"] else "whose run does not run yet"
    return f"Its buffer time is over. A start of {taker['definition']} {state} can still use it."


# -- Reasons of deliveries that Temporal did not find a run for --------------------------------------------------------

RUN_ENDED, RUN_UNKNOWN = "the run has ended", "Temporal does not know the run"
# The comparison after the failed signal was not possible, so the two cases cannot be distinguished.
RUN_ENDED_OR_UNKNOWN = f"{RUN_UNKNOWN}, or has ended it"


# -- Reasons of starts that are held or skipped ------------------------------------------------------------------------


def paused_text(definition: str, why: str) -> str:
    """Return the reason of a start that a pause of the definition holds."""
    return f"the definition {definition} is paused: {why or 'no reason given'}"


def limit_text(definition: str, use: str) -> str:
    """Return the reason of a start that the concurrency limit of the definition holds. `use` says who has the slots."""
    return f"the definition {definition} is at its concurrency limit: {use}"


def archived_text(definition: str) -> str:
    """Return the reason of a start that is skipped, because the definition is archived."""
    return f"the definition {definition} is archived and starts no more runs"


# -- Reasons of starts whose input could not be made from the event ----------------------------------------------------

# A corrected event can remove a reason with one of these beginnings.
MAPPING_FAILED, INPUT_INVALID = "the payload mapping failed", "the payload does not match the schema"


def missing_field_text(path: str, expression: str, field: str) -> str:
    """Return the reason for an expression at `path` of a mapping. The payload does not have the field that it reads."""
    return f"{path}: `{expression}` has no value: the payload has no `{field}`"


def missing_field_in(reason: str) -> str:
    """Return the field that a reason of `missing_field_text` names, or an empty text."""
    found = re.search(r": the payload has no `([^`]+)`", reason)
    return found.group(1) if found else ""
