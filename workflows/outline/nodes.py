"""Steps of a definition in document order, each with its place in the nested blocks."""

from dataclasses import dataclass

from workflows.engine.definition import ROOT, Definition, Step

LOOP, BRANCH, TRY, CHILD = "control.forEach", "control.if", "control.tryCatch", "control.callWorkflow"


@dataclass(frozen=True)
class Node:
    """A step and its place.

    `owner`: path of the control step around it, or an empty text. `side`: the block of the owner that contains the
    step, for example "then". `loops`: paths of the loops around it, outermost first.
    """

    step: Step
    depth: int
    owner: str = ""
    side: str = ""
    loops: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return self.step.path

    @property
    def title(self) -> str:
        return self.step.name or self.step.id


def nodes_of(definition: Definition) -> list[Node]:
    """Return all steps. A control step comes before the steps of its blocks."""
    found: list[Node] = []
    _add_block(definition, ROOT, Node(Step("", "", "", "", {}), -1), "", found)
    return found


def _add_block(definition: Definition, block: str, owner: Node, side: str, found: list[Node]) -> None:
    loops = (*owner.loops, owner.path) if owner.step.type == LOOP else owner.loops
    for step in definition.blocks[block]:
        node = Node(step, owner.depth + 1, owner.path, side, loops)
        found.append(node)
        for name, path in step.blocks.items():
            _add_block(definition, path, node, name, found)


@dataclass(frozen=True)
class Catcher:
    """Steps that run when a step fails and has no retry left.

    `kind`: "fails" (the run fails), "catch" (a `catch` block runs), "next_step" or "next_item". `node`: the control
    step that catches the error, if there is one.
    """

    kind: str
    node: Node | None = None


def catcher_of(nodes: dict[str, Node], path: str) -> Catcher:
    """Return what catches an error of this step. It follows the rules of `workflows.engine.control`."""
    node = nodes.get(path)
    if node is None:
        return Catcher("fails")
    if node.step.continues_on_error:
        return Catcher("next_step")
    side = node.side
    while node.owner:
        side, node = node.side, nodes[node.owner]
        if node.step.type == TRY and side == "try":
            return Catcher("catch", node)
        policy = node.step.config.get("onItemError", "fail") if node.step.type == LOOP else "fail"
        if policy != "fail":
            return Catcher("next_step" if policy == "continue" else "next_item", node)
    return Catcher("fails")
