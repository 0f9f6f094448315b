"""Advice for the operator of an event: what happened in one sentence, and what to do first. Pure.

The input is the structure that `trace.py` makes.

Source: docs/reference/events.md#what-to-do-first
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ingress.explain.alike import is_almost_the_key
from ingress.explain.summary import span
from workflows.redaction import HIDDEN
from workflows.statuses import DeliveryStatus, EventOutcome, WaitStatus

LATE_TO_DO = "If the effect is still needed, send the event to a run that waits now, or start a new run."


@dataclass(frozen=True)
class Advice:
    """Heading and advice for the box at the top of the page.

    `action` is the main action, or an empty text: "send" opens the form for events, with the values of `fields`;
    "redeliver" opens the confirmation for dead deliveries; "what_if" shows what the event would do now. `run_id` and
    `run_name` name the run that the operator should look at.
    """

    heading: str
    to_do: str
    action: Literal["", "send", "redeliver", "what_if"] = ""
    label: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    run_id: str = ""
    run_name: str = ""


def advice_of(explained: dict[str, Any]) -> Advice:
    """Return the advice for an event with this decision trace."""
    if explained["conflict_of"]:
        return Advice(
            "This event was refused. Its id belongs to an event with another body.",
            "Send the changed event again with a new id.",
            "send",
            "Send with a new id…",
        )
    if explained["outcome"]["status"] == EventOutcome.REJECTED:
        return _rejected(explained["schema"])
    if explained["routing"]["routed_at"] is None:
        return _unrouted(explained["routing"]["attempts"])
    if explained["delivery_counts"]:
        return _delivered(explained)
    return _without_target(explained)


def _rejected(schema: dict[str, Any] | None) -> Advice:
    ref = f"the schema {schema['ref']}" if schema else "its schema"
    if schema and schema.get("code"):
        return Advice(
            "This event was rejected. It names another schema than the event catalogue.",
            "Send the event again with the right schema, or with none.",
            "send",
            "Send a corrected event…",
        )
    problems = (schema or {}).get("problems") or [{"pointer": "/"}]
    first = problems[0]
    where = f"{first['pointer'] or '/'}{': ' + first['message'] if first.get('message') else ''}"
    more = f" There are {len(problems) - 1} more problems below." if len(problems) > 1 else ""
    return Advice(
        f"This event was rejected. Its payload does not match {ref}.",
        f"Ask the sender to correct the payload at {where}.{more}",
        "send",
        "Send a corrected event…",
    )


def _unrouted(attempts: int) -> Advice:
    if attempts:
        return Advice(
            "The routing of this event failed.",
            "The portal tries again. If this text stays, look at the health of database and workers on the dashboard.",
        )
    return Advice(
        "The event is stored and not routed yet.",
        "Wait some seconds. If this text stays, look at the health of broker and workers on the dashboard.",
    )


def _delivered(explained: dict[str, Any]) -> Advice:
    """Return the advice for an event with deliveries. The first status in this order decides."""
    counts = explained["delivery_counts"]
    if counts.get(DeliveryStatus.DEAD):
        many = "" if counts[DeliveryStatus.DEAD] == 1 else f" to {counts[DeliveryStatus.DEAD]:,} targets"
        return Advice(
            f"All attempts to deliver the event{many} failed.",
            "Read the reason of the last attempt below and remove the cause. Then redeliver the event.",
            "redeliver",
            "Redeliver…",
        )
    if counts.get(DeliveryStatus.PENDING) or counts.get(DeliveryStatus.SENT):
        return _under_way(explained["deliveries"])
    if counts.get(DeliveryStatus.MATCHED):
        return Advice("A run took the event.", "Nothing. The run has continued.")
    if counts.get(DeliveryStatus.STARTED):
        return Advice("The event started a run.", "Nothing.")
    if counts.get(DeliveryStatus.FILTERED):
        return Advice(
            "No run used this event. A run waited for it, but the filter of the wait did not match.",
            "Compare the payload with the filter below. If the payload is wrong, send a corrected event.",
            "send",
            "Send a corrected event…",
        )
    if counts.get(DeliveryStatus.LATE):
        return Advice("No run used this event. It came too late for the run that had waited for it.", LATE_TO_DO)
    if counts.get(DeliveryStatus.SKIPPED):
        return Advice(
            "No run used this event. The definition did not start.",
            "Read the reason below. If the effect is still needed, send the event again when the reason is gone.",
        )
    return Advice(
        "An operator discarded the event.", "Nothing. If the effect is needed after all, send the event again."
    )


def _under_way(deliveries: Iterable[dict[str, Any]]) -> Advice:
    if any(row["held_since"] for row in deliveries):
        return Advice(
            "This event is on hold: its run cannot start now.",
            "Nothing. The run starts by itself when an author resumes the definition, or when a slot is free.",
        )
    return Advice("The event is being delivered.", "Wait. This page shows the result by itself.")


def _without_target(explained: dict[str, Any]) -> Advice:
    near = _best(explained)
    if near is not None:
        return near
    if not explained["correlation"]["keys"]:
        return Advice(
            "No run used this event. The event has no correlation key.",
            "Ask an author to add the path of the key to the event catalogue. Or send the event again with a key.",
            "send",
            "Send with a key…",
        )
    buffer = explained["buffer"]
    if buffer["is_open"]:
        return Advice(
            "No run waits for this event yet.",
            f"Wait. A wait with this key that opens within {span(buffer['seconds_left'])} finds the event.",
        )
    return Advice(
        "No run used this event. No run waited for it, and it starts no definition.",
        "Check the event type and the key with the sender. If a run waits now, send the event again.",
        "what_if",
        "Preview routing now…",
    )


def _best(explained: dict[str, Any]) -> Advice | None:
    """Return the advice for the most alike near miss that an operator can use, or None."""
    near_misses = explained["routing"]["near_misses"]
    keys = explained["correlation"]["keys"]
    closed = [near for near in near_misses if near["key"] in keys and near["wait_status"] != WaitStatus.WAITING]
    late = "The wait with this key had closed before the event was routed." if closed else ""
    for near in near_misses:
        if near["wait_status"] != WaitStatus.WAITING or near["key"] == HIDDEN:
            continue
        run = {"run_id": str(near["run_id"]), "run_name": f"{near['definition']} {near['key']}"}
        if near["event_name"] != explained["event_type"]:
            return Advice(
                "No run used this event. An open run waits with this key for another event type.",
                f"If the sender used the wrong type, send the event again as {near['event_name']}.",
                "send",
                f"Send as {near['event_name']}…",
                {"event_type": near["event_name"]},
                **run,
            )
        if is_almost_the_key(near):
            return Advice(
                f"No run used this event. {late or 'An open run waits for it with almost the same key.'}",
                "An open run waits for this event with a key that is almost the same"
                f" ({near['likeness'][:1].lower()}{near['likeness'][1:]}). If the event is meant for that run, send it"
                f" again with the key {near['key']}.",
                "send",
                f"Send with key {near['key']}…",
                {"key": near["key"], "replaces": near["event_key"]},
                **run,
            )
    if late:
        return Advice(f"No run used this event. {late}", LATE_TO_DO)
    return None
