"""Summary of an event's decision trace in plain sentences. Pure. The input is the structure that `trace.py` makes."""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from workflows.event_decisions import problem_text
from workflows.redaction import HIDDEN
from workflows.statuses import DeliveryStatus, EventOutcome, WaitStatus

SHOWN_TARGETS = 3
SHOWN_SENTENCES = 3
SHOWN_NEAR_MISSES = 2
# Source of a key that was sent beside the payload, in a correlation trace.
ENVELOPE = "envelope"

# The sentences are ordered by importance. `{to}` names the targets. `{why}` is the reason, if the reader may see it.
_SENTENCES = {
    DeliveryStatus.MATCHED: "{to} took the event.",
    DeliveryStatus.STARTED: "The event started {to}.",
    DeliveryStatus.DEAD: (
        "All attempts to deliver the event to {to} failed{why}. Redeliver or discard it in the dead-letter inbox."
    ),
    DeliveryStatus.SENT: "Temporal accepted the signal for {to}. The workflow has not decided about the event yet.",
    DeliveryStatus.FILTERED: "{to} waited for the event but did not take it{why}.",
    DeliveryStatus.LATE: "{to} could not take the event{why}.",
    DeliveryStatus.SKIPPED: "The event did not start {to}{why}.",
    DeliveryStatus.DISCARDED: "The delivery to {to} was discarded{why}.",
}
_IN_PROGRESS = (DeliveryStatus.PENDING, DeliveryStatus.SENT)
_REACHED = (DeliveryStatus.MATCHED, DeliveryStatus.STARTED)


def summary_of(explained: dict[str, Any], *, now: datetime) -> str:
    """Return the sentence of the decision. Sentences follow about the keys, the targets and what may still happen."""
    decision = explained["outcome"]["reason"]
    return " ".join([decision, key_sentence(explained), *_happened(explained, now), *_may_happen(explained)])


def key_sentence(explained: dict[str, Any]) -> str:
    """Return the sentence about the correlation keys of the event."""
    correlation = explained["correlation"]
    keys = correlation["keys"]
    if not keys:
        return f"The event has no correlation key: {correlation['reason']}."
    return f"The event has the correlation key{'s' if len(keys) > 1 else ''} {listed(keys)}{_key_place(correlation)}."


def _key_place(correlation: dict[str, Any]) -> str:
    """Return where the keys come from, or an empty text if they come from several places."""
    places = [entry for entry in correlation.get("tried", ()) if entry.get("key")]
    if len(places) != 1:
        return ""
    return ", given with the event" if places[0]["source"] == ENVELOPE else f", found in {places[0]['path']}"


def _happened(explained: dict[str, Any], now: datetime) -> list[str]:
    first, routing = explained["conflict_of"], explained["routing"]
    if first:
        return [
            f"The event to which the id {explained['event_id']} belongs was received at {clock(first['received_at'])}. "
            "The sender must give a changed event a new id."
        ]
    if explained["outcome"]["status"] == EventOutcome.REJECTED:
        return [_rejected(explained["schema"])]
    if routing["routed_at"] is None:
        return [_unrouted(routing, now)]
    deliveries = explained["deliveries"]
    if not deliveries:
        return near_miss_sentences(explained)
    pending = [row for row in deliveries if row["status"] == DeliveryStatus.PENDING]
    sentences = [_pending(row, now) for row in pending[:1]]
    for status, sentence in _SENTENCES.items():
        rows = [row for row in deliveries if row["status"] == status]
        if rows:
            sentences.append(_of_status(sentence, rows, explained["delivery_counts"].get(status, 0)))
    return sentences[:SHOWN_SENTENCES]


def _rejected(schema: dict[str, Any] | None) -> str:
    if schema and schema.get("code"):
        return "The sender must name the right schema, or none."
    problems = (schema or {}).get("problems") or [{"pointer": "/"}]
    return f"The sender must correct the payload at {problem_text(problems[0])}."


def _unrouted(routing: dict[str, Any], now: datetime) -> str:
    if routing["attempts"]:
        return f"Routing failed {routing['attempts']} times. The next attempt is due {_left(routing['next_at'], now)}."
    return "If this does not change within seconds, check the Celery workers."


def no_target_sentence(explained: dict[str, Any], *, verb: str = "waited") -> str:
    """Return the sentence for an event for which routing found no wait and no trigger."""
    keys = explained["correlation"]["keys"]
    if not keys:
        return "Without a key it cannot reach a wait, and no published definition has this event as its trigger."
    which = "one of these keys" if len(keys) > 1 else "this key"
    return (
        f"No run {verb} for {explained['event_type']} with {which}, "
        "and no published definition has this event as its trigger."
    )


def near_miss_sentences(explained: dict[str, Any]) -> list[str]:
    """Return a sentence for each of the first near misses."""
    sentences = []
    for near in explained["routing"]["near_misses"][:SHOWN_NEAR_MISSES]:
        run = run_named(near["run_id"], near["definition"])
        waits = "waits" if near["wait_status"] == WaitStatus.WAITING else "waited"
        if near["key"] == HIDDEN:
            sentences.append(f"Near miss: {run} ({near['why']}).")
        elif near["key"] not in explained["correlation"]["keys"]:
            sentences.append(f"Near miss: {run} {waits} for this event with the key {near['key']}.")
        elif near["event_name"] != explained["event_type"]:
            sentences.append(f"Near miss: {run} {waits} with this key, but for {near['event_name']}.")
        else:
            sentences.append(f"Near miss: {run} waited for this event with this key ({near['why']}).")
    return sentences


def _pending(row: dict[str, Any], now: datetime) -> str:
    target = _targets([row])
    if row["is_under_way"]:
        return f"An attempt to deliver the event to {target} is in progress."
    if row["held_since"]:
        return f"The start of {target} is on hold{_why(row)}."
    if row["attempts"]:
        due = _left(row["next_attempt_at"], now)
        return f"The last attempt to deliver the event to {target} failed{_why(row)}. The next attempt is due {due}."
    return f"The first attempt to deliver the event to {target} is due."


def _may_happen(explained: dict[str, Any]) -> list[str]:
    buffer, outcome = explained["buffer"], explained["outcome"]["status"]
    statuses = {row["status"] for row in explained["deliveries"]}
    if (
        buffer["until"] is None
        or statuses.intersection((*_IN_PROGRESS, *_REACHED))
        or outcome == EventOutcome.DISCARDED
    ):
        return []
    if buffer["is_open"]:
        return [f"A wait that opens within {span(buffer['seconds_left'])} still finds the event."]
    return [] if statuses else [f"A wait that had opened before {clock(buffer['until'])} would have found the event."]


# -- Words ------------------------------------------------------------------------------------------------------------


def span(seconds: float) -> str:
    """Return a duration as text, rounded up to seconds."""
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{whole} s" if not minutes else f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _of_status(sentence: str, rows: list[dict[str, Any]], count: int) -> str:
    """Return the sentence for a status. `count` deliveries have this status.

    `rows` are the deliveries that are shown.
    """
    return upper(sentence.format(to=_targets(rows, count), why=_why(rows[0])))


def _targets(rows: Iterable[dict[str, Any]], count: int = 0) -> str:
    return listed([_target_named(row["target"]) for row in rows], count)


def _target_named(target: dict[str, Any]) -> str:
    if target["run_id"]:
        return run_named(target["run_id"], target["definition"])
    return f"{target['definition']}@{target['version']}"


def run_named(run_id: Any, definition: str | None) -> str:
    """Return `run ID of DEFINITION`. The event page turns `run ID` into a link."""
    return f"run {run_id}" + (f" of {definition}" if definition else "")


def _why(row: dict[str, Any]) -> str:
    return f" ({row['reason']})" if row["reason"] else ""


def listed(names: list[str], count: int = 0) -> str:
    """Return the first names and the number of the remaining names.

    `count` is the number of all names if `names` is incomplete.
    """
    shown = names[:SHOWN_TARGETS]
    more = max(count, len(names)) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def upper(sentence: str) -> str:
    """Return the sentence with an upper-case first letter."""
    return sentence[:1].upper() + sentence[1:]


def _left(moment: datetime, now: datetime) -> str:
    seconds = (moment - now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "now"


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
