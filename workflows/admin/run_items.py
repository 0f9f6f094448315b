"""The field "Item" of a loop on the run page: a person types the number of an item, and the page shows this item.

Source: docs/reference/screens.md#run-page
"""

from dataclasses import dataclass

from django.http import QueryDict

from workflows.outline.loops import LoopView
from workflows.outline.rows import Outline

LOOP, ITEM = "loop", "item"
MOST_DIGITS = 9


@dataclass(frozen=True)
class ItemJump:
    """The item that the address asks for. `address` shows it. `problem` is the error text if there is no such item."""

    loop: str
    typed: str
    address: str = ""
    problem: str = ""


def item_jump(query: QueryDict, outline: Outline) -> ItemJump | None:
    """Return the item that the address asks for, or None if it names no item or no loop that has run."""
    typed, path = query.get(ITEM, "").strip(), query.get(LOOP, "")
    loop = next((row.loop for row in outline.rows if row.loop is not None and row.node.path == path), None)
    if ITEM not in query or loop is None:
        return None
    total = loop.counts.total
    is_number = typed.isascii() and typed.isdecimal() and len(typed) <= MOST_DIGITS
    if not is_number or not 1 <= int(typed) <= total:
        problem = f"There is no item {typed[:20]!r}. Type a whole number from 1 to {total:,}."
        return ItemJump(path, typed[:20], problem=problem)
    changed = query.copy()
    for name in (LOOP, ITEM, "attempt"):
        changed.pop(name, None)
    changed["iteration"] = f"{loop.prefix}{int(typed) - 1}"
    return ItemJump(path, typed, address=f"?{changed.urlencode()}")


def item_fields(query: QueryDict, loop: LoopView, step: str) -> list[tuple[str, str]]:
    """Return the hidden fields of the form: the address of the page, with the step that stays selected."""
    changed = query.copy()
    for name in (ITEM, "attempt"):
        changed.pop(name, None)
    changed["step"], changed["iteration"], changed[LOOP] = step, loop.iteration, loop.path
    return [(name, str(value)) for name, values in changed.lists() for value in values]
