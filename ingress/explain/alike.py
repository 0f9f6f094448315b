"""Near misses of an event that are really alike, in the order of their likeness, for readers. Pure.

Routing stores the waits whose keys have most characters in common, and they can still be quite different.

The keys are compared as the reader sees them. So the order and the reason describe no hidden value.

Source: docs/reference/events.md#near-misses
"""

from collections.abc import Sequence
from typing import Any

from workflows.key_likeness import SAME, UNLIKE, Likeness, key_likeness
from workflows.redaction import HIDDEN
from workflows.statuses import WaitStatus

_HIDDEN_RANK = 1_000


def near_misses_ordered(near_misses: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return the near misses with an alike key, the most alike key first. Of equally alike keys, open waits are first.

    A wait with another key is left out, and so is every wait with a key if the event has none. A hidden key is kept,
    because it cannot be compared. `keys` are the keys of the event as the reader sees them.
    Shapes: each near miss gets `likeness`, a sentence about the key or None, and `event_key`, the key of the event that
    is most alike, or None.
    """
    shown = [key for key in keys if key != HIDDEN]
    ranked = [_compared(near, shown) for near in near_misses if keys]
    # Stable: waits of the same rank keep the order of routing.
    ranked.sort(key=lambda pair: (pair[0], pair[1].get("wait_status") != WaitStatus.WAITING))
    return [near for rank, near in ranked if rank != UNLIKE]


def _compared(near: dict[str, Any], keys: Sequence[str]) -> tuple[int, dict[str, Any]]:
    if near["key"] == HIDDEN or not keys:
        return _HIDDEN_RANK, {**near, "likeness": None, "event_key": None}
    likeness, key = min(((key_likeness(key, near["key"]), key) for key in keys), key=_rank)
    return likeness.rank, {**near, "likeness": likeness.why, "event_key": key}


def _rank(pair: tuple[Likeness, str]) -> int:
    return pair[0].rank


def is_almost_the_key(near: dict[str, Any]) -> bool:
    """Return True if the key of the wait differs from the key of the event only a little."""
    if near["event_key"] is None:
        return False
    likeness = key_likeness(near["event_key"], near["key"])
    return likeness.is_alike and likeness.rank != SAME
