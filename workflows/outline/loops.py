"""Loops of the outline: the iteration that is shown, and the picker with the iterations beside it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workflows.outline.nodes import LOOP, Node
from workflows.outline.states import RunPlace, StepFacts

STRIP_LENGTH = 60


@dataclass(frozen=True)
class LoopCounts:
    """Iterations of a loop that have a row. `failed`: the indexes of iterations with a failed step, in order."""

    total: int
    failed: tuple[int, ...] = ()


@dataclass(frozen=True)
class StripItem:
    index: int
    has_failed: bool
    is_chosen: bool

    @property
    def number(self) -> int:
        return self.index + 1


@dataclass(frozen=True)
class LoopView:
    """One loop with the iteration that is shown.

    `prefix`: the iteration of the loops around it, with a dot at its end, or an empty text. With `is_failed_only`, the
    arrows lead to iterations in which a step failed. Indexes count from 0; `number` counts from 1.
    """

    path: str
    prefix: str
    index: int
    counts: LoopCounts
    is_failed_only: bool = False

    @property
    def number(self) -> int:
        return self.index + 1

    @property
    def ok(self) -> int:
        return self.counts.total - len(self.counts.failed)

    @property
    def place_in_failed(self) -> int:
        """Return the position of the chosen iteration among the failed ones, from 1, or 0 if it is none of them."""
        return self.counts.failed.index(self.index) + 1 if self.index in self.counts.failed else 0

    @property
    def before(self) -> str:
        """Return the iteration that the arrow to the left leads to, or an empty text."""
        steps = [index for index in self._stops() if index < self.index]
        return f"{self.prefix}{steps[-1]}" if steps else ""

    @property
    def after(self) -> str:
        steps = (index for index in self._stops() if index > self.index)
        found = next(iter(steps), None)
        return "" if found is None else f"{self.prefix}{found}"

    @property
    def iteration(self) -> str:
        return f"{self.prefix}{self.index}"

    @property
    def first_failed(self) -> str:
        return f"{self.prefix}{self.counts.failed[0]}" if self.counts.failed else ""

    @property
    def strip(self) -> list[StripItem]:
        """Return at most `STRIP_LENGTH` iterations around the chosen one."""
        start = min(max(0, self.index - STRIP_LENGTH // 2), max(0, self.counts.total - STRIP_LENGTH))
        failed = set(self.counts.failed)
        end = min(self.counts.total, start + STRIP_LENGTH)
        return [StripItem(index, index in failed, index == self.index) for index in range(start, end)]

    def _stops(self) -> Sequence[int]:
        return self.counts.failed if self.is_failed_only else range(self.counts.total)


def chosen_iterations(
    nodes: Iterable[Node], facts: Mapping[str, StepFacts], place: RunPlace, *, step: str = "", iteration: str = ""
) -> dict[str, str]:
    """Return the iteration that the outline shows, by the path of each loop that has run.

    The iteration of the selected step comes first. Without a selection, it is the iteration with the failure, then the
    current one, then one with a caught error, then the newest one.
    """
    chosen: dict[str, str] = {}
    for node in nodes:
        if node.step.type != LOOP or not _inside(facts, node.path):
            continue
        outer = chosen.get(node.loops[-1], "") if node.loops else ""
        depth = len(node.loops)
        wanted = iteration if step == node.path or step.startswith(f"{node.path}.") else ""
        for candidate in (wanted, _default_iteration(facts, place, node.path)):
            parts = candidate.split(".") if candidate else []
            if len(parts) > depth and ".".join(parts[:depth]) == outer:
                chosen[node.path] = ".".join(parts[: depth + 1])
                break
        else:
            chosen[node.path] = f"{outer}.0" if outer else "0"
    return chosen


def _inside(facts: Mapping[str, StepFacts], path: str) -> list[StepFacts]:
    return [fact for inner, fact in facts.items() if inner.startswith(f"{path}.body.")]


def _default_iteration(facts: Mapping[str, StepFacts], place: RunPlace, path: str) -> str:
    if place.failed_path.startswith(f"{path}.") and place.failed_path in facts:
        return facts[place.failed_path].focus
    if place.is_open and place.current_path.startswith(f"{path}.") and place.current_path in facts:
        return facts[place.current_path].newest
    inner = _inside(facts, path)
    failed = [fact for fact in inner if fact.failed]
    if failed:
        return max(failed, key=lambda fact: fact.last_seq).focus
    return max(inner, key=lambda fact: fact.last_seq).newest
