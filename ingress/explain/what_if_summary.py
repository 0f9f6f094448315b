"""What an event would do, in a few plain sentences. Pure: it reads the structure that `what_if.py` makes."""

from typing import Any

from ingress.explain.summary import key_sentence, listed, near_sentences, nobody_sentence, run_named, span, upper
from workflows.statuses import DeliveryStatus, EventOutcome

_WOULD = {
    DeliveryStatus.MATCHED: "It would resume {to}, if the workflow agrees.",
    DeliveryStatus.STARTED: "It would start {to}.",
    DeliveryStatus.PENDING: "A run of {to} would have to wait for its turn: {why}.",
    DeliveryStatus.FILTERED: "{to} waits for it, and would most likely not take it: {why}.",
    DeliveryStatus.LATE: "It would come too late for {to}: {why}.",
    DeliveryStatus.SKIPPED: "It would not start {to}: {why}.",
}


def what_if_summary(told: dict[str, Any]) -> str:
    answer = told["answer"]
    if answer["status"] == 200:
        return f"Nothing would happen: {answer['message']}, which is {told['first']['outcome'].replace('_', ' ')}."
    if answer["code"]:
        kept = told["outcome"] is not None and told["outcome"]["status"] == EventOutcome.REJECTED
        return f"It would be refused{' and kept for operators' if kept else ''}: {answer['message']}."
    return " ".join([key_sentence(told), *_would(told)])


def _would(told: dict[str, Any]) -> list[str]:
    targets = [*told["waits"], *told["triggers"]]
    if targets:
        return [sentence for status, words in _WOULD.items() if (sentence := _of(targets, status, words))]
    explained = {**told, "routing": {"near_misses": told["near_misses"]}}
    sentences = [nobody_sentence(told, waits="waits"), *near_sentences(explained)]
    if told["buffer_seconds"]:
        sentences.append(f"A wait that opens within {span(told['buffer_seconds'])} of it would find it.")
    return sentences


def _of(targets: list[dict[str, Any]], status: DeliveryStatus, words: str) -> str:
    chosen = [target for target in targets if target["forecast"]["status"] == status]
    if not chosen:
        return ""
    return upper(words.format(to=listed([_named(target) for target in chosen]), why=chosen[0]["forecast"]["why"]))


def _named(target: dict[str, Any]) -> str:
    if "run_id" in target:
        return run_named(target["run_id"], target["definition"])
    return f"{target['definition']}@{target['version']}"
