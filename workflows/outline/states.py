"""State of each step of a run: taken, current, failed, caught, not taken, not reached.

The outline and the graph of a run both show these states. `workflows.selectors.step_facts` reads the facts from the
step rows, with one statement for a run of any size.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from workflows.outline.nodes import BRANCH, LOOP, TRY, Node

TAKEN, CURRENT, RETRYING, FAILED, CAUGHT = "taken", "current", "retrying", "failed", "caught"
CANCELED, STOPPED, NOT_TAKEN, NOT_REACHED = "canceled", "stopped", "not_taken", "not_reached"


@dataclass(frozen=True)
class StepFacts:
    """Summary of the rows of one step path.

    `executions`: times that the step ran, without its retries. The other numbers count executions by their last
    status; an execution that is in none of them waits for its next attempt. `branches`: the branches that a control
    step chose. `newest`: the iteration of the newest row. `focus`: the newest iteration that failed, or `newest` if
    no iteration failed. `last_seq`: the highest sequence number.
    """

    executions: int = 0
    succeeded: int = 0
    failed: int = 0
    started: int = 0
    canceled: int = 0
    branches: frozenset[str] = frozenset()
    focus: str = ""
    newest: str = ""
    last_seq: int = 0
    attempts: int = 0
    first_started_at: datetime | None = None
    last_ended_at: datetime | None = None

    @property
    def retrying(self) -> int:
        return max(0, self.executions - self.succeeded - self.failed - self.started - self.canceled)


@dataclass(frozen=True)
class RunPlace:
    """Where a run is. `failed_path`: the step in which the error of a closed run occurred, or an empty text."""

    is_open: bool
    current_path: str = ""
    failed_path: str = ""

    def is_on_failed_way(self, path: str) -> bool:
        """Return True for the failed step and for each control step around it."""
        return bool(self.failed_path) and (self.failed_path == path or self.failed_path.startswith(f"{path}."))


def step_states(nodes: Iterable[Node], facts: Mapping[str, StepFacts], place: RunPlace) -> dict[str, str]:
    """Return the state of each step by its path.

    `nodes` are in document order, so the state of a control step is known before the states of its steps. `facts` are
    those of the whole run, or those of one iteration of each loop.
    """
    states: dict[str, str] = {}
    by_path: dict[str, Node] = {}
    for node in nodes:
        by_path[node.path] = node
        found = facts.get(node.path)
        if found is not None and found.executions:
            states[node.path] = _state_of_facts(node, found, place)
        elif place.is_open and node.path == place.current_path:
            states[node.path] = CURRENT
        else:
            states[node.path] = _state_without_rows(node, by_path, states, facts)
    return states


def _state_of_facts(node: Node, facts: StepFacts, place: RunPlace) -> str:
    if facts.failed and place.is_on_failed_way(node.path):
        return FAILED
    if facts.retrying:
        return RETRYING if place.is_open else STOPPED
    if facts.started:
        return CURRENT if place.is_open else STOPPED
    if facts.failed:
        return CAUGHT
    return CANCELED if facts.canceled else TAKEN


def _state_without_rows(
    node: Node, by_path: Mapping[str, Node], states: Mapping[str, str], facts: Mapping[str, StepFacts]
) -> str:
    if not node.owner:
        return NOT_REACHED
    if states[node.owner] in (NOT_TAKEN, NOT_REACHED):
        return states[node.owner]
    owner, known = by_path[node.owner], facts.get(node.owner) or StepFacts()
    if owner.step.type == BRANCH and known.branches and node.side not in known.branches:
        return NOT_TAKEN
    has_ended = known.succeeded > 0 and not known.started
    if owner.step.type == TRY and node.side == "catch" and has_ended and "catch" not in known.branches:
        return NOT_TAKEN
    if owner.step.type == LOOP and has_ended and f"{node.owner}.body.steps[0]" not in facts:
        return NOT_TAKEN  # the list of the loop was empty
    return NOT_REACHED
