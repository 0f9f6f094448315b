"""Steps of an unchecked definition, for the checks that need more than the shape.

The tree leaves out whatever has the wrong shape, because the shape check reports it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.definition import BLOCK_FIELDS
from workflows.engine.step_fields import STEP_FIELDS
from workflows.engine.validation.problems import Place
from workflows.engine.validation.shape import MAX_DEPTH


@dataclass(frozen=True)
class StepNode:
    """Step with its place. `config` holds the fields of the step: of a control step, the step itself."""

    step: dict[str, Any]
    place: Place
    type: str
    config: dict[str, Any]
    blocks: dict[str, "list[StepNode]"] = field(default_factory=dict)

    @property
    def config_place(self) -> Place:
        return self.place if self.type.startswith("control.") else (*self.place, "config")


def read_steps(document: dict[str, Any]) -> list[StepNode]:
    """Return the steps of a definition whose type is known."""
    return _block(document.get("steps"), ("steps",), MAX_DEPTH)


def _block(steps: Any, place: Place, levels: int) -> list[StepNode]:
    if not isinstance(steps, list) or levels == 0:
        return []
    nodes = []
    for index, step in enumerate(steps):
        step_type = step.get("type") if isinstance(step, dict) else None
        if isinstance(step_type, str) and step_type in STEP_FIELDS:
            here = (*place, index)
            blocks = {
                name: _block(step.get(name), (*here, name), levels - 1) for name in BLOCK_FIELDS.get(step_type, ())
            }
            config = step if step_type.startswith("control.") else step.get("config")
            nodes.append(StepNode(step, here, step_type, config if isinstance(config, dict) else {}, blocks))
    return nodes


def all_steps(nodes: list[StepNode]) -> Iterator[StepNode]:
    """Yield every step, outer steps before the steps inside."""
    for node in nodes:
        yield node
        for block in node.blocks.values():
            yield from all_steps(block)
