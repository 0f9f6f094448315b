"""Every order in which the two sides of the border can meet (docs/reference/engine.md#event-waits). Pure: no thread and no database.

`whole_orders` are of actions that happen in one piece. `split_orders` take them apart at the lock of the event's row, which
they share: what can happen between claiming an event and committing its deliveries, and while somebody waits for the lock.
"""

import copy
from collections.abc import Iterator
from itertools import permutations

Order = tuple[str, ...]
Pair = tuple[str, str]

# E: the event is committed. W?: routing looks for waits. W: the wait is committed. E?: its look, for events. S: the signal.
WHOLE = ("E", "W?", "W", "E?", "S")
AS_BUILT: tuple[Pair, ...] = (("E", "W?"), ("W", "E?"))

# Of each side its steps in their order; one of several steps ends where it commits and gives the event's lock back.
SPLIT = {
    "event": ("E", "W?", "waits found", "routed"),
    "wait": ("W", "E?", "event locked", "looked"),
    "sender": ("S", "settling", "settled"),
    "run": ("verdict",),
}


def whole_orders(actions: Order = WHOLE, before: tuple[Pair, ...] = AS_BUILT) -> list[Order]:
    """All orders of these actions in which the first of each pair comes before the second, and a signal after the look that
    made its delivery."""
    return [
        order
        for order in permutations(actions)
        if all(order.index(first) < order.index(second) for first, second in before) and _is_made_before_sent(order)
    ]


def _is_made_before_sent(order: Order) -> bool:
    if "S" not in order:
        return True
    looks = (("W", "W?"), ("E", "E?"))
    made = [order.index(look) for there, look in looks if order.index(there) < order.index(look)]
    return bool(made) and min(made) < order.index("S")


def split_orders() -> Iterator[Order]:
    """All orders of the steps of SPLIT that the lock allows. Two that wait for the lock at once: what comes after it is given
    back is left to the database, and the order ends there."""

    def go_on(border: "_Border", made: Order) -> Iterator[Order]:
        steps = border.possible()
        if not steps:
            yield made
        for step in steps:
            yield from go_on(border.after(step), (*made, step))

    return go_on(_Border(), ())


class _Border:
    """What the steps so far have come to."""

    def __init__(self) -> None:
        self.next = dict.fromkeys(SPLIT, 0)
        self.holder = ""
        self.waiting: list[str] = []
        self.facts: set[str] = set()
        self.is_left = False

    def possible(self) -> list[str]:
        able = [side for side, steps in SPLIT.items() if side not in self.waiting and self.next[side] < len(steps)]
        steps = [SPLIT[side][self.next[side]] for side in able if not self.is_left]
        needed = {"S": "delivery", "verdict": "S"}
        return [step for step in steps if step not in needed or needed[step] in self.facts]

    def after(self, step: str) -> "_Border":
        then = copy.deepcopy(self)
        side = next(side for side, steps in SPLIT.items() if step in steps)
        then.facts.add(step)
        then.next[side] += 1
        # Routing skips what is locked, and a worker comes back for it; a look for nothing, or of a closed wait, has ended.
        is_over = step == "E?" and ("E" not in self.facts or "closed" in self.facts)
        if is_over or (step == "W?" and self.holder):
            then.next[side] = len(SPLIT[side])
        elif step in ("W?", "event locked", "settling", "verdict"):
            then._lock(side)
        elif step == "waits found" and "W" in self.facts:
            then.facts.add("sees the wait")
        elif step in ("routed", "looked", "settled"):
            if step == "looked" or (step == "routed" and "sees the wait" in self.facts):
                then.facts.add("delivery")
            then._give_back()
        return then

    def _lock(self, side: str) -> None:
        if self.holder:
            self.waiting.append(side)
        elif side == "run":  # its lock begins and ends with its one step
            self.facts.add("closed")
        else:
            self.holder = side

    def _give_back(self) -> None:
        waiting, self.waiting, self.holder = self.waiting, [], ""
        self.is_left = len(waiting) > 1
        for side in waiting:
            self._lock(side)
