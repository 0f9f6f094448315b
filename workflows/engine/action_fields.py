"""Input fields of an action, and the check that an input mapping uses only these fields. Pure functions.

The check finds only field names that are written in the document. An expression can yield any object. Its value is
checked when the step runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.engine.mapping import EXPRESSION_KEY
from workflows.engine.secret_places import SECRET_KEY, Segments


@dataclass(frozen=True)
class InputFields:
    """Names of the fields that an object may have.

    `below` maps a field to the fields of the object in it. A field without an entry in `below` takes any value.
    `are_refused`: True if the action refuses unknown fields; False if it ignores them.
    `required` has the required fields, each with all its spellings; the first one is shown. `types` has the JSON types
    that a field accepts; a field without an entry may accept any type.
    """

    names: frozenset[str]
    below: Mapping[str, "InputFields"] = field(default_factory=dict)
    are_refused: bool = True
    required: tuple[tuple[str, ...], ...] = ()
    types: Mapping[str, frozenset[str]] = field(default_factory=dict)


def unknown_fields(
    value: Any, fields: InputFields, place: Segments = ()
) -> Iterator[tuple[Segments, str, InputFields]]:
    """Yield each unknown field of a value: its place, its name, and the fields that are known at this place.

    In a list, every entry is checked against the same fields.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, fields, (*place, index))
        return
    if not isinstance(value, dict) or EXPRESSION_KEY in value or SECRET_KEY in value:
        return
    for name, item in value.items():
        if name not in fields.names:
            yield (*place, name), name, fields
        elif name in fields.below:
            yield from unknown_fields(item, fields.below[name], (*place, name))
