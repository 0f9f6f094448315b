"""An event's decision trace in a few plain sentences. Pure: it reads the structure that `explain.py` makes."""

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from workflows.redaction import HIDDEN
from workflows.statuses import CorrelationStatus, DeliveryStatus, EventOutcome

SHOWN_TARGETS = 3
SHOWN_SENTENCES = 3
SHOWN_NEAR_MISSES = 2

# What is told first is what mattered most; `{to}` are the targets, `{why}` the reason, when it may be told.
_TOLD = {
    DeliveryStatus.MATCHED: "{to} took it.",
    DeliveryStatus.STARTED: "It started {to}.",
    DeliveryStatus.DEAD: "Every attempt to reach {to} failed{why}; it is in the dead letters.",
    DeliveryStatus.SENT: "Temporal has the signal for {to}, and the workflow has not answered yet.",
    DeliveryStatus.FILTERED: "{to} waited for it and did not take it{why}.",
    DeliveryStatus.LATE: "It came too late for {to}{why}.",
    DeliveryStatus.SKIPPED: "It did not start {to}{why}.",
    DeliveryStatus.DISCARDED: "The delivery to {to} will not be made{why}.",
}
_UNDER_WAY = (DeliveryStatus.PENDING, DeliveryStatus.SENT)
_REACHED = (DeliveryStatus.MATCHED, DeliveryStatus.STARTED)


def summary_of(explained: dict[str, Any], *, now: datetime) -> str:
    """Which key the event carries, what became of it, and what may still come."""
    return " ".join([key_sentence(explained), *_became(explained, now), *_may_come(explained)])


def key_sentence(explained: dict[str, Any]) -> str:
    correlation = explained["correlation"]
    keys = correlation["keys"]
    if not keys:
        return f"The event carries no key: {correlation['reason']}."
    sent = " that was sent with it" if correlation["status"] == CorrelationStatus.EXPLICIT else ""
    return f"The event carries the key{'s' if len(keys) > 1 else ''} {listed(keys)}{sent}."


def _became(explained: dict[str, Any], now: datetime) -> list[str]:
    first, routing = explained["conflict_of"], explained["routing"]
    if first:
        return [
            f"Its id {explained['event_id']} belongs to another body that came at {clock(first['received_at'])}, so it "
            "was kept and reaches no run; a changed event needs a new id."
        ]
    if explained["outcome"]["status"] == EventOutcome.REJECTED:
        return [_rejected(explained["schema"])]
    if routing["routed_at"] is None:
        return [_unrouted(routing, now)]
    deliveries = explained["deliveries"]
    if not deliveries:
        return [nobody_sentence(explained), *near_sentences(explained)]
    pending = [row for row in deliveries if row["status"] == DeliveryStatus.PENDING]
    told = [_pending(row, now) for row in pending[:1]]
    for status, sentence in _TOLD.items():
        rows = [row for row in deliveries if row["status"] == status]
        if rows:
            told.append(_of_many(sentence, rows, explained["delivery_counts"].get(status, 0)))
    return told[:SHOWN_SENTENCES]


def _rejected(schema: dict[str, Any] | None) -> str:
    problems = (schema or {}).get("problems") or []
    where = ""
    if problems:
        first = problems[0]
        where = f" at {first['pointer'] or '/'}" + (f": {first['message']}" if first.get("message") else "")
    ref = schema["ref"] if schema else "its schema"
    return f"Its payload does not fit {ref}{where}, so it reaches no run; its sender must correct it."


def _unrouted(routing: dict[str, Any], now: datetime) -> str:
    if routing["attempts"]:
        due = _left(routing["next_at"], now)
        return f"Routing it failed {routing['attempts']} times and is tried again {due}."
    return "It is stored and not routed yet; if that stays so, no worker is running."


def nobody_sentence(explained: dict[str, Any], *, waits: str = "waited") -> str:
    keys = explained["correlation"]["keys"]
    if not keys:
        return "So it can reach no run that waits, and no published definition is started by it."
    that = "one of those keys" if len(keys) > 1 else "that key"
    return f"No run {waits} for {explained['event_type']} with {that}, and no published definition is started by it."


def near_sentences(explained: dict[str, Any]) -> list[str]:
    told = []
    for near in explained["routing"]["near_misses"][:SHOWN_NEAR_MISSES]:
        run = run_named(near["run_id"], near["definition"])
        if near["key"] == HIDDEN:
            told.append(f"{upper(run)} was near: {near['why']}.")
        elif near["key"] not in explained["correlation"]["keys"]:
            told.append(f"{upper(run)} waits for it under {near['key']}.")
        elif near["event_name"] != explained["event_type"]:
            told.append(f"{upper(run)} waits under this key, and for {near['event_name']}.")
        else:
            told.append(f"{upper(run)} waited for it: {near['why']}.")
    return told


def _pending(row: dict[str, Any], now: datetime) -> str:
    target = _targets([row])
    if row["is_under_way"]:
        return f"An attempt to reach {target} is under way."
    if row["held_since"]:
        return f"The definition {target} has as many open runs as it may have; the event waits for its turn."
    if row["attempts"]:
        return f"The last attempt to reach {target} failed{_why(row)}; the next is due {_left(row['next_attempt_at'], now)}."
    return f"It is about to be handed to {target}."


def _may_come(explained: dict[str, Any]) -> list[str]:
    buffer, outcome = explained["buffer"], explained["outcome"]["status"]
    statuses = {row["status"] for row in explained["deliveries"]}
    if buffer["until"] is None or statuses.intersection((*_UNDER_WAY, *_REACHED)) or outcome == EventOutcome.DISCARDED:
        return []
    if buffer["is_open"]:
        return [f"A wait that opens within {span(buffer['seconds_left'])} still finds it."]
    return [] if statuses else [f"A wait that had opened by {clock(buffer['until'])} would have found it."]


# -- Words ------------------------------------------------------------------------------------------------------------


def span(seconds: float) -> str:
    whole = math.ceil(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{whole} s" if not minutes else f"{minutes} min {rest} s" if rest else f"{minutes} min"


def _of_many(sentence: str, rows: list[dict[str, Any]], count: int) -> str:
    """`count` of the deliveries are so; the rows are those that are told."""
    return upper(sentence.format(to=_targets(rows, count), why=_why(rows[0])))


def _targets(rows: Iterable[dict[str, Any]], count: int = 0) -> str:
    return listed([_target_named(row["target"]) for row in rows], count)


def _target_named(target: dict[str, Any]) -> str:
    if target["run_id"]:
        return run_named(target["run_id"], target["definition"])
    return f"{target['definition']}@{target['version']}"


def run_named(run_id: Any, definition: str | None) -> str:
    return f"run {run_id}" + (f" of {definition}" if definition else "")


def _why(row: dict[str, Any]) -> str:
    return f" ({row['reason']})" if row["reason"] else ""


def listed(names: list[str], count: int = 0) -> str:
    """The first names, and how many more there are: of `count`, when not all are given."""
    shown = names[:SHOWN_TARGETS]
    more = max(count, len(names)) - len(shown)
    if more > 0:
        return f"{', '.join(shown)} and {more:,} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _left(moment: datetime, now: datetime) -> str:
    seconds = (moment - now).total_seconds()
    return f"in {span(seconds)}" if seconds > 0 else "now"


def clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
