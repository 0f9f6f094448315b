"""Orders in which an event and an opening wait can meet (docs/reference/engine.md#event-waits).

Pure computation: no thread and no database. `action_orders` treats each action as one piece. `step_orders` splits the
actions at the row lock of the event. These orders cover the time between locking an event and committing its
deliveries, and the time in which another side waits for the lock.
"""

import copy
from collections.abc import Iterator
from itertools import permutations

Order = tuple[str, ...]
Pair = tuple[str, str]

# E: the event is committed. W?: routing searches for waits. W: the wait is committed. E?: lookback of the wait, which
# searches for events. S: the signal is sent.
ACTIONS = ("E", "W?", "W", "E?", "S")
# The order inside each side: an event is committed before it is routed, and a wait before its lookback.
PROGRAM_ORDER: tuple[Pair, ...] = (("E", "W?"), ("W", "E?"))

# The steps of each side in their order. "routed", "lookback done" and "recorded" commit and release the event's lock.
STEPS = {
    "event": ("E", "W?", "waits found", "routed"),
    "wait": ("W", "E?", "event locked", "lookback done"),
    "sender": ("S", "recording", "recorded"),
    "run": ("verdict",),
}


def action_orders(actions: Order = ACTIONS, before: tuple[Pair, ...] = PROGRAM_ORDER) -> list[Order]:
    """Return all orders of the actions in which the first of each pair comes before the second.

    A signal comes after the search that creates its delivery.
    """
    return [
        order
        for order in permutations(actions)
        if all(order.index(first) < order.index(second) for first, second in before)
        and _delivery_precedes_signal(order)
    ]


def _delivery_precedes_signal(order: Order) -> bool:
    if "S" not in order:
        return True
    searches = (("W", "W?"), ("E", "E?"))
    successful = [order.index(search) for found, search in searches if order.index(found) < order.index(search)]
    return bool(successful) and min(successful) < order.index("S")


def step_orders() -> Iterator[Order]:
    """Yield all orders of STEPS that the lock allows.

    An order ends when a lock is released and two sides wait for it, because PostgreSQL decides which side gets it.
    """

    def extend(state: "_State", done: Order) -> Iterator[Order]:
        steps = state.possible_steps()
        if not steps:
            yield done
        for step in steps:
            yield from extend(state.after(step), (*done, step))

    return extend(_State(), ())


class _State:
    """State of all sides and of the lock after some steps."""

    def __init__(self) -> None:
        self.next = dict.fromkeys(STEPS, 0)
        self.holder = ""
        self.waiting: list[str] = []
        self.facts: set[str] = set()
        self.is_undecided = False

    def possible_steps(self) -> list[str]:
        free = [side for side, steps in STEPS.items() if side not in self.waiting and self.next[side] < len(steps)]
        steps = [STEPS[side][self.next[side]] for side in free if not self.is_undecided]
        needed = {"S": "delivery", "verdict": "S"}
        return [step for step in steps if step not in needed or needed[step] in self.facts]

    def after(self, step: str) -> "_State":
        then = copy.deepcopy(self)
        side = next(side for side, steps in STEPS.items() if step in steps)
        then.facts.add(step)
        then.next[side] += 1
        # A side ends early in two cases. The lookback finds no event that has no delivery, or a closed wait. Routing
        # skips a locked event; a worker routes it later.
        is_over = step == "E?" and ("E" not in self.facts or bool({"closed", "delivery"} & self.facts))
        if is_over or (step == "W?" and self.holder):
            then.next[side] = len(STEPS[side])
        elif step in ("W?", "event locked", "recording", "verdict"):
            then._lock(side)
        elif step == "waits found" and "W" in self.facts:
            then.facts.add("sees the wait")
        elif step in ("routed", "lookback done", "recorded"):
            if step == "lookback done" or (step == "routed" and "sees the wait" in self.facts):
                then.facts.add("delivery")
            then._unlock()
        return then

    def _lock(self, side: str) -> None:
        if self.holder:
            self.waiting.append(side)
        elif side == "run":  # the run takes the lock and releases it in the same step
            self.facts.add("closed")
        else:
            self.holder = side

    def _unlock(self) -> None:
        waiting, self.waiting, self.holder = self.waiting, [], ""
        self.is_undecided = len(waiting) > 1
        for side in waiting:
            self._lock(side)
