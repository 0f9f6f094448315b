"""Summary of a "what if" result in plain sentences. Pure. The input is the structure that `what_if.py` makes."""

from typing import Any

from ingress.explain.summary import (
    key_sentence,
    listed,
    near_miss_sentences,
    no_target_sentence,
    run_named,
    span,
    upper,
)
from workflows.statuses import DeliveryStatus, EventOutcome

_SENTENCES = {
    DeliveryStatus.MATCHED: "The event would resume {to}, if the workflow confirms the match.",
    DeliveryStatus.STARTED: "The event would start {to}.",
    DeliveryStatus.PENDING: "The start of {to} would be held: {why}.",
    DeliveryStatus.FILTERED: "{to} waits for the event, but would probably not take it: {why}.",
    DeliveryStatus.LATE: "{to} could not take the event: {why}.",
    DeliveryStatus.SKIPPED: "The event would not start {to}: {why}.",
}


def what_if_summary(result: dict[str, Any]) -> str:
    """Return sentences about the acceptance, the keys and the targets of the event."""
    answer = result["answer"]
    if answer["status"] == 200:
        outcome = result["first"]["outcome"].replace("_", " ")
        return f"Nothing would happen. {answer['message']} The outcome of that event is: {outcome}."
    if answer["code"]:
        message = answer["message"].rstrip(".")
        if result["outcome"] is not None and result["outcome"]["status"] == EventOutcome.REJECTED:
            return f"This event would be rejected. {message}. It would be kept under Events > Rejected."
        return f"This event would be refused. {message}."
    return " ".join([key_sentence(result), *_would_reach(result)])


def _would_reach(result: dict[str, Any]) -> list[str]:
    targets = [*result["waits"], *result["triggers"]]
    if targets:
        return [text for status, sentence in _SENTENCES.items() if (text := _of_status(targets, status, sentence))]
    explained = {**result, "routing": {"near_misses": result["near_misses"]}}
    sentences = [no_target_sentence(result, verb="waits"), *near_miss_sentences(explained)]
    if result["buffer_seconds"]:
        sentences.append(f"A wait that opens within {span(result['buffer_seconds'])} after the event would find it.")
    return sentences


def _of_status(targets: list[dict[str, Any]], status: DeliveryStatus, sentence: str) -> str:
    chosen = [target for target in targets if target["forecast"]["status"] == status]
    if not chosen:
        return ""
    names = listed([_named(target) for target in chosen])
    return upper(sentence.format(to=names, why=chosen[0]["forecast"]["why"]))


def _named(target: dict[str, Any]) -> str:
    if "run_id" in target:
        return run_named(target["run_id"], target["definition"])
    return f"{target['definition']}@{target['version']}"
