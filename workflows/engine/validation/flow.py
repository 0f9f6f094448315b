"""Check of the order of steps: steps that no run reaches, and definitions that call each other without end."""

from collections.abc import Iterator
from typing import Any

from workflows.engine.validation.known import Known
from workflows.engine.validation.problems import Finding
from workflows.engine.validation.tree import StepNode, read_steps

Call = tuple[str, int]
# Limit for the definitions that one validation follows.
MAX_FOLLOWED = 200


def flow_findings(document: dict[str, Any], steps: list[StepNode], known: Known) -> Iterator[Finding]:
    """Yield a warning for steps after a return, and for calls that never end."""
    yield from _unreachable(steps)
    yield from _endless_calls(document, steps, known)


def _unreachable(block: list[StepNode]) -> Iterator[Finding]:
    ended_by: StepNode | None = None
    for node in block:
        if ended_by is not None:
            message = (
                f"no run reaches this step, because the step {ended_by.step.get('id')!r} before it always ends the "
                "run; remove this step, or move it before that step"
            )
            yield Finding("STEP_UNREACHABLE", node.place, message)
            return
        for inner in node.blocks.values():
            yield from _unreachable(inner)
        ended_by = node if _always_returns(node) else None


def _always_returns(node: StepNode) -> bool:
    if node.type == "control.return":
        return True
    if node.type not in ("control.if", "control.tryCatch"):
        return False  # a loop may have no items
    return all(block and any(map(_always_returns, block)) for block in node.blocks.values())


def _may_return(node: StepNode) -> bool:
    return node.type == "control.return" or any(_may_return(inner) for block in node.blocks.values() for inner in block)


# -- Calls without end -------------------------------------------------------------------------------------------------


def _endless_calls(document: dict[str, Any], steps: list[StepNode], known: Known) -> Iterator[Finding]:
    key, version = document.get("id"), document.get("version")
    if not isinstance(key, str) or isinstance(version, bool) or not isinstance(version, int):
        return
    search = _Search(known, (key, version), [call for call, _ in _certain_calls(steps)])
    for call, node in _certain_calls(steps):
        cycle = search.cycle_from(call)
        if cycle is not None:
            chain = " calls ".join(f"{name}@{number}" for name, number in ((key, version), *cycle))
            message = (
                f"a run that reaches this call starts child runs without end: {chain}; the run fails when children "
                "nest too deep; put one of these calls into a control.if, or end the run before the call under a "
                "condition"
            )
            yield Finding("CALL_ENDLESS", (*node.place, "workflowId"), message)


def _certain_calls(steps: list[StepNode]) -> list[tuple[Call, StepNode]]:
    """Return the calls that every successful run makes.

    A call inside a branch, a loop or a try may be left out by a run, and so may a call after a step that can return.
    """
    calls = []
    for node in steps:
        if _may_return(node):
            break
        on_error = node.step.get("onError")
        continues = isinstance(on_error, dict) and on_error.get("policy") == "continue"
        name, version = node.step.get("workflowId"), node.step.get("workflowVersion")
        if node.type != "control.callWorkflow" or not isinstance(name, str) or not isinstance(version, int):
            continue
        if not continues:
            calls.append(((name, version), node))
    return calls


class _Search:
    """Search for cycles of certain calls. `own` is the definition that is validated, with its calls."""

    def __init__(self, known: Known, own: Call, calls: list[Call]) -> None:
        self._known = known
        self._calls: dict[Call, list[Call]] = {own: calls}

    def cycle_from(self, call: Call) -> list[Call] | None:
        """Return the chain of calls from `call` to the first definition that occurs twice, or None."""
        waiting: list[tuple[Call, tuple[Call, ...]]] = [(call, (next(iter(self._calls)),))]
        done: set[Call] = set()
        while waiting:
            current, way = waiting.pop()
            if current in way:
                return [*way[1:], current]
            if current not in done:
                done.add(current)
                waiting.extend((further, (*way, current)) for further in self._calls_of(current))
        return None

    def _calls_of(self, call: Call) -> list[Call]:
        if call not in self._calls:
            if len(self._calls) > MAX_FOLLOWED:
                return []
            document = self._known.definition_of(*call)
            self._calls[call] = [] if document is None else [found for found, _ in _certain_calls(read_steps(document))]
        return self._calls[call]
