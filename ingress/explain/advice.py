"""Advice for the operator of an event: what to do first, below the sentence of the decision. Pure.

The input is the structure that `trace.py` makes.

Source: docs/reference/events.md#what-to-do-first
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from ingress.explain.alike import is_almost_the_key
from ingress.explain.summary import span
from workflows.event_decisions import INPUT_INVALID, MAPPING_FAILED, missing_field_in, problem_text
from workflows.redaction import HIDDEN
from workflows.statuses import DeliveryStatus, EventOutcome, OutcomeCode, WaitStatus

_IN_PROGRESS = (DeliveryStatus.PENDING, DeliveryStatus.SENT)
LATE_TO_DO = "If the effect is still needed, send the event to a run that waits now, or start a new run."
SKIPPED_TO_DO = "Read the reason. If the effect is still needed, send the event again when the reason is gone."
HELD_TO_DO = "Nothing. The run starts by itself when this reason no longer applies."
IF_IT_STAYS = "If this text stays, an administrator must check the workers on the page System health."
# The portal usually needs some seconds. After this time, a worker or a server is probably down.
LONG_SECONDS = 30


@dataclass(frozen=True)
class Advice:
    """Heading and advice for the box at the top of the page.

    `action` is the main action, or an empty text: "send" opens the form for events, with the values of `fields`;
    "redeliver" opens the confirmation for dead deliveries; "what_if" shows what the event would do now. `run_id` and
    `run_name` name the run that the operator should look at. `start_event_id` is the event whose start is on hold,
    and `definition_id` with `definition` the definition that holds a start. `is_health`: the page System health helps.
    """

    heading: str = ""
    to_do: str = ""
    action: Literal["", "send", "redeliver", "what_if"] = ""
    label: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    run_id: str = ""
    run_name: str = ""
    start_event_id: str = ""
    definition_id: str = ""
    definition: str = ""
    is_health: bool = False


def _send(
    to_do: str, label: str, fields: dict[str, str] | None = None, *, run_id: str = "", run_name: str = ""
) -> Advice:
    return Advice(to_do=to_do, action="send", label=label, fields=fields or {}, run_id=run_id, run_name=run_name)


# What to do depends only on the code.
_FIXED = {
    OutcomeCode.ID_CONFLICT: _send("Send the changed event again with a new id.", "Send with a new id…"),
    OutcomeCode.ROUTING_FAILED: Advice(to_do=f"The portal tries again. {IF_IT_STAYS}", is_health=True),
    OutcomeCode.FILTERED: _send(
        "Compare the payload with the reason. If the payload is wrong, send a corrected event.",
        "Send a corrected event…",
    ),
    OutcomeCode.DISCARDED: Advice(to_do="Nothing. If the effect is needed after all, send the event again."),
    **dict.fromkeys(
        (OutcomeCode.DEAD, OutcomeCode.PARTLY_DEAD),
        Advice(
            to_do="Read the reason of the last attempt and remove the cause. Then redeliver the event.",
            action="redeliver",
            label="Redeliver…",
        ),
    ),
}


def advice_of(explained: dict[str, Any], *, now: datetime) -> Advice:
    """Return the advice for an event with this decision trace. The heading is the sentence of the decision."""
    heading, code = explained["outcome"]["reason"], explained["outcome"]["code"]
    taker = explained["buffer"]["can_be_taken_by"]
    if taker is not None and explained["outcome"]["status"] == EventOutcome.BUFFER_OVER:
        return replace(_can_be_taken(taker), heading=heading)
    if code in _FIXED:
        return replace(_FIXED[code], heading=heading)
    if code == OutcomeCode.NOT_STARTED:
        return replace(_not_started(explained["deliveries"]), heading=heading)
    if code in (OutcomeCode.NOT_ROUTED, OutcomeCode.DELIVERING):
        return replace(_under_way(explained, now), heading=heading)
    if code == OutcomeCode.HELD:
        return replace(_held(explained), heading=heading)
    if code == OutcomeCode.PAYLOAD_REJECTED:
        return replace(_rejected(explained["schema"]), heading=heading)
    if code in (OutcomeCode.MATCHED, OutcomeCode.STARTED):
        return Advice(heading, _rest(explained["delivery_counts"]))
    return replace(_without_target(explained), heading=heading)


def _under_way(explained: dict[str, Any], now: datetime) -> Advice:
    """Return the advice while the portal works on the event. A long time names the processes that may be down."""
    open_rows = [row for row in explained["deliveries"] if row["status"] in _IN_PROGRESS]
    since = min((row["sent_at"] or row["created_at"] for row in open_rows), default=explained["received_at"])
    seconds = (now - since).total_seconds()
    if seconds < LONG_SECONDS:
        return Advice(to_do="Wait. This page shows the result by itself.")
    if explained["outcome"]["code"] == OutcomeCode.NOT_ROUTED:
        work, worker = "has not been routed", "the Celery workers"
    elif all(row["sent_at"] for row in open_rows):
        work, worker = "waits for the decision of the run", "the Temporal workers"
    else:
        work, worker = "has not been delivered", "Temporal and the Celery workers"
    to_do = f"An administrator must check {worker}, because the event {work} for {span(seconds)}."
    return Advice(to_do=to_do, is_health=True)


def _held(explained: dict[str, Any]) -> Advice:
    held = next((row["target"] for row in explained["deliveries"] if row["held_since"]), None)
    if held is None:
        return Advice(to_do=HELD_TO_DO)
    to_do = (
        f"An author must resume {held['definition_name']}. The run then starts by itself." if held["is_paused"] else ""
    )
    definition_id = str(held["definition_id"] or "")
    return Advice(to_do=to_do or HELD_TO_DO, definition_id=definition_id, definition=held["definition_name"] or "")


def _can_be_taken(taker: dict[str, Any]) -> Advice:
    if taker["kind"] == "wait":
        return Advice(
            to_do="Nothing. This page shows the decision by itself.", run_id=taker["runId"], run_name="open it"
        )
    to_do = "Nothing. If the run of this start waits for the event, it finds the event."
    if taker["isHeld"]:
        to_do = (
            f"Resume {taker['definition']}, or wait for a free slot. Then the run starts. If the run waits for this"
            " event, it finds the event."
        )
    return Advice(
        to_do=to_do,
        run_id=taker["runId"] or "",
        run_name=taker["definition"],
        start_event_id="" if taker["runId"] else taker["eventId"] or "",
    )


def _rejected(schema: dict[str, Any] | None) -> Advice:
    if schema and schema.get("code"):
        return _send("Send the event again with the right schema, or with none.", "Send a corrected event…")
    problems = (schema or {}).get("problems") or [{"pointer": "/"}]
    more = f" There are {len(problems) - 1} more problems below." if len(problems) > 1 else ""
    return _send(
        f"Ask the sender to correct the payload at {problem_text(problems[0])}.{more}", "Send a corrected event…"
    )


def _not_started(deliveries: list[dict[str, Any]]) -> Advice:
    """Return the advice for skipped starts. A corrected event helps if its payload is the cause."""
    reasons = [row["reason"] for row in deliveries if row["status"] == DeliveryStatus.SKIPPED and row["reason"]]
    wrong = next((reason for reason in reasons if reason.startswith((MAPPING_FAILED, INPUT_INVALID))), None)
    if wrong is None:
        return Advice(to_do=SKIPPED_TO_DO)
    field = missing_field_in(wrong)
    if field:
        to_do = f"Send the event again with {field}, or ask an author to set a default with coalesce."
    else:
        to_do = "Compare the payload with the reason. Send a corrected event, or ask an author to correct the mapping."
    return _send(to_do, "Send a corrected event…")


def _rest(counts: dict[str, int]) -> str:
    if counts.get(DeliveryStatus.PENDING) or counts.get(DeliveryStatus.SENT):
        return "Wait. Another delivery of this event is in progress. This page shows the result by itself."
    return "Nothing. The run has the event."


def _without_target(explained: dict[str, Any]) -> Advice:
    # The key was right, so a key that is almost the same belongs to another case.
    if explained["outcome"]["code"] in (OutcomeCode.WAIT_CLOSED, OutcomeCode.RUN_UNKNOWN):
        unsure = next((wait for wait in explained["routing"]["waits"] if wait["run_differs"]), None)
        return Advice(to_do=LATE_TO_DO) if unsure is None else _compare(unsure)
    near = _best(explained)
    if near is not None:
        return near
    meant = explained["alike_type"]
    if meant:
        return _send(
            f"The event catalogue has no type {explained['event_type']}, but it has {meant}. If the sender meant this"
            f" type, send the event again as {meant}.",
            f"Send as {meant}…",
            {"event_type": meant},
        )
    if not explained["correlation"]["keys"]:
        return _send(
            "Ask an author to add the path of the key to the event catalogue. Or send the event again with a key.",
            "Send with a key…",
        )
    buffer = explained["buffer"]
    if buffer["is_open"]:
        return Advice(to_do=f"Wait. A wait with this key that opens within {span(buffer['seconds_left'])} finds it.")
    if explained["outcome"]["status"] == EventOutcome.BUFFER_OVER:
        return Advice(to_do=f"Wait some seconds. {IF_IT_STAYS}", is_health=True)
    return Advice(
        to_do="Check the event type and the key with the sender. If a run waits now, send the event again.",
        action="what_if",
        label="Preview routing now…",
    )


def _compare(wait: dict[str, Any]) -> Advice:
    return Advice(
        to_do="The rows of this run differ from Temporal. Open the run and compare it with Temporal.",
        run_id=str(wait["run_id"]),
        run_name=f"{wait['definition_name']} {wait['key']}",
    )


def _equally_alike(near: dict[str, Any], explained: dict[str, Any]) -> list[str]:
    """Return the keys of the open waits for this event that are as much alike as this one, each once."""
    return sorted(
        {
            other["key"]
            for other in explained["routing"]["near_misses"]
            if (other["wait_status"], other["event_name"]) == (near["wait_status"], near["event_name"])
            and (other["event_key"], other["likeness"]) == (near["event_key"], near["likeness"])
            and not other["run_differs"]
        }
    )


def _best(explained: dict[str, Any]) -> Advice | None:
    """Return the advice for the most alike near miss that an operator can use, or None."""
    for near in explained["routing"]["near_misses"]:
        # A run that differs from Temporal may have ended.
        if near["wait_status"] != WaitStatus.WAITING or near["key"] == HIDDEN or near["run_differs"]:
            continue
        run = {"run_id": str(near["run_id"]), "run_name": f"{near['definition_name']} {near['key']}"}
        if near["event_name"] != explained["event_type"]:
            return _send(
                "An open run waits with this key for another event type. If the sender used the wrong type, send the"
                f" event again as {near['event_name']}.",
                f"Send as {near['event_name']}…",
                {"event_type": near["event_name"]},
                **run,
            )
        if is_almost_the_key(near):
            alike = _equally_alike(near, explained)
            if len(alike) > 1:
                return _send(
                    f"Open runs wait for this event with {len(alike)} keys that are equally alike: {', '.join(alike)}."
                    " Ask the sender which one is meant, and send the event again with that key.",
                    "Send with another key…",
                )
            return _send(
                "An open run waits for this event with a key that is almost the same"
                f" ({near['likeness'][:1].lower()}{near['likeness'][1:]}). If the event is meant for that run, send it"
                f" again with the key {near['key']}.",
                f"Send with key {near['key']}…",
                {"key": near["key"], "replaces": near["event_key"]},
                **run,
            )
    return None
