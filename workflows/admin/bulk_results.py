"""Result of a bulk job in words: how many of its runs succeeded, failed, or have no result yet."""

from typing import NamedTuple

from workflows.services.bulk.results import started_count
from workflows.status_marks import OUTCOME, Mark
from workflows.statuses import BulkOutcome, CommandAction


class Part(NamedTuple):
    """One number of a result with its word, for example `35` and `of 41 succeeded`. `tone` is a colour or empty."""

    outcome: BulkOutcome
    number: int
    word: str
    tone: str


def result_parts(action: str, outcomes: dict[str, int]) -> list[Part]:
    """Return the numbers of a result. The first one is that of the wanted outcome, also if it is 0.

    Runs that were left out are not in it.
    """
    wanted, words = _words(action)
    whole = sum(outcomes.values()) - outcomes[BulkOutcome.LEFT_OUT]
    tone = OUTCOME["succeeded"].tone if outcomes[wanted] else ""
    return [Part(wanted, outcomes[wanted], f"of {whole} {words[wanted]}", tone)] + [
        Part(outcome, outcomes[outcome], word, OUTCOME[outcome].tone)
        for outcome, word in words.items()
        if outcomes[outcome] and outcome != wanted
    ]


def result_mark(action: str, outcomes: dict[str, int]) -> Mark:
    """Return the result as a sentence with the icon and the tone of its worst part: `35 of 41 succeeded, 6 failed`."""
    first, *others = result_parts(action, outcomes)
    sentence = ", ".join(f"{part.number} {part.word}" for part in (first, *others))
    alone = "succeeded" if first.number else "left_out"
    return OUTCOME[others[0].outcome if others else alone]._replace(word=sentence)


def outcome_shares(outcomes: dict[str, int]) -> list[dict[str, str]]:
    """Return the parts of the bar, in percent of the runs that have started or that will start.

    So the bar is full when each run has started. One failure of many runs is a small part of it.
    """
    tones = {"failed": "red", "succeeded": "green", "canceled": "grey", "open": "blue"}
    whole = started_count(outcomes) + outcomes[BulkOutcome.PENDING]
    return [
        {"tone": tone, "percent": f"{100 * outcomes[name] / whole:.2f}"}
        for name, tone in tones.items()
        if outcomes[name]
    ]


def _words(action: str) -> tuple[BulkOutcome, dict[BulkOutcome, str]]:
    """Return the wanted outcome of an action, and the word of each outcome of its runs, the worst first."""
    is_replay = action == CommandAction.REPLAY
    ended = "terminated" if action == CommandAction.TERMINATE else "canceled"
    words = {
        BulkOutcome.FAILED: "failed",
        BulkOutcome.REFUSED: "refused",
        BulkOutcome.UNKNOWN: "unknown",
        BulkOutcome.OPEN: "open" if is_replay else "requested, still open",
        BulkOutcome.PENDING: "not requested yet",
        BulkOutcome.NOT_REQUESTED: "not requested",
        BulkOutcome.CANCELED: "canceled" if is_replay else ended,
        BulkOutcome.ENDED: "ended by itself",
        BulkOutcome.SUCCEEDED: "succeeded",
    }
    return BulkOutcome.SUCCEEDED if is_replay else BulkOutcome.CANCELED, words
