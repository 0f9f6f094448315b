"""Parts of the table of expected access: statuses, and the cells of the usual kinds of endpoints."""

from collections.abc import Callable, Iterator
from typing import Any

from tests.support.access import NOBODY, Cell, Ids
from workflows.statuses import Role

VIEWER, OPERATOR, AUTHOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.AUTHOR, Role.ADMIN
OK = frozenset({200, 302})
GONE = frozenset({404})
FORBIDDEN = frozenset({403})
REFUSED = frozenset({403, 405})  # for every caller
REASON: dict[str, Any] = {"reason": "a test"}


def read_cell(name: str, *args: str, needs: str = VIEWER, shows: bool = True, variant: str = "") -> Cell:
    foreign = GONE if args else None
    return Cell(f"api:{name}", "GET", needs, args, writes=False, foreign_statuses=foreign, shows=shows, variant=variant)


def write_cell(name: str, needs: str, *args: str, body: Callable[[Ids], Any] = lambda ids: REASON, **more: Any) -> Cell:
    return Cell(f"api:{name}", more.pop("method", "POST"), needs, args, body, is_recorded=True, **more)


def get_cell(name: str, needs: str = VIEWER, *args: str, **more: Any) -> Cell:
    more.setdefault("foreign_statuses", GONE if args else None)
    return Cell(
        f"admin:{name}" if ":" not in name and "/" not in name else name, "GET", needs, args, writes=False, **more
    )


def post_cell(name: str, needs: str, *args: str, **more: Any) -> Cell:
    more.setdefault("foreign_statuses", GONE if args else None)
    more.setdefault("body", lambda ids: REASON)
    return Cell(f"admin:{name}" if ":" not in name and "/" not in name else name, "POST", needs, args, **more)


def page_cells(name: str, needs: str, *args: str, **more: Any) -> Iterator[Cell]:
    """Yield the cells of a page that treats a POST like a GET."""
    yield get_cell(name, needs, *args, **more)
    yield post_cell(name, needs, *args, writes=False, **more)


def action_cell(model: str, action: str, needs: str, row: str, foreign: frozenset[int] = OK, **more: Any) -> Cell:
    return post_cell(
        f"workflows_{model}_changelist", needs, variant=action, foreign_statuses=foreign,
        body=lambda ids: {"action": action, "_selected_action": [ids[row]], **more},
    )  # fmt: skip


def readable_pages(model: str, row: str) -> Iterator[Cell]:
    """Yield the cells of the pages that every member may read."""
    name = f"workflows_{model}"
    yield get_cell(f"{name}_changelist", shows=True)
    yield post_cell(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield get_cell(f"{name}_change", VIEWER, row, shows=True)
    yield get_cell(f"{name}_history", VIEWER, row)
    yield post_cell(f"{name}_history", VIEWER, row, writes=False)
    yield from page_cells(f"admin/workflows/{model}/<path:object_id>/", VIEWER, row)
