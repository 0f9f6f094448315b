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
    step that catches the error, if there is one. `then`: the step with which the run goes on. `next_item_of`: the loop
    that goes on with its next item instead. If the run goes on and both are None, no step is left.
    """

    kind: str
    node: Node | None = None
    then: Node | None = None
    next_item_of: Node | None = None


def catcher_of(nodes: dict[str, Node], path: str) -> Catcher:
    """Return what catches an error of this step. It follows the rules of `workflows.engine.control`."""
    node = failed = nodes.get(path)
    if node is None or failed is None:
        return Catcher("fails")
    if node.step.continues_on_error:
        return Catcher("next_step", None, *_after(nodes, node))
    side = node.side
    while node.owner:
        side, node = node.side, nodes[node.owner]
        if node.step.type == TRY and side == "try":
            first = nodes.get(f"{node.step.blocks['catch']}.steps[0]")
            return Catcher("catch", node, *((first, None) if first else _after(nodes, node)))
        policy = node.step.config.get("onItemError", "fail") if node.step.type == LOOP else "fail"
        if policy == "continue":
            return Catcher("next_step", node, *_after(nodes, failed))
        if policy != "fail":
            return Catcher("next_item", node, None, node)
        # A loop that does not catch the error counts as the failed step.
        failed = node if node.step.type == LOOP else failed
    return Catcher("fails")


def _after(nodes: dict[str, Node], node: Node) -> tuple[Node | None, Node | None]:
    """Return the step after this one, or the loop that has its next item after this one. Both can be None."""
    block, _, index = node.path.rpartition(".steps[")
    following = nodes.get(f"{block}.steps[{int(index[:-1]) + 1}]")
    if following is not None or not node.owner:
        return following, None
    owner = nodes[node.owner]
    return (None, owner) if owner.step.type == LOOP else _after(nodes, owner)
