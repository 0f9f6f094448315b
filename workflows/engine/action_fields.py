"""Input fields that an action knows, and the check of an input mapping against them. Pure.

Only field names that are written in the document are checked. An expression can yield any object, so its value is
checked when the step runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.mapping import EXPRESSION_KEY
from workflows.engine.secret_places import SECRET_KEY


@dataclass(frozen=True)
class InputFields:
    """Field names of an object, with the fields of the objects below them. A field without an entry takes any value.

    `are_refused`: True if the action refuses unknown fields; False if it ignores them.
    """

    names: frozenset[str]
    below: Mapping[str, "InputFields"] = field(default_factory=dict)
    are_refused: bool = True


def unknown_fields(value: Any, fields: InputFields, path: str) -> Iterator[tuple[str, str, InputFields]]:
    """Yield the path, the name and the known fields of each unknown field. A list stands for each of its entries."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, fields, f"{path}[{index}]")
        return
    if not isinstance(value, dict) or EXPRESSION_KEY in value or SECRET_KEY in value:
        return
    for name, item in value.items():
        if name not in fields.names:
            yield f"{path}.{name}", name, fields
        elif name in fields.below:
            yield from unknown_fields(item, fields.below[name], f"{path}.{name}")
