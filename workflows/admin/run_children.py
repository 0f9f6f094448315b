"""The tab "Children" of the run page: child runs in the order of their calls.

If a run has more than one page of child runs, the tab begins with those that failed.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict

from workflows.models import Run
from workflows.outline.nodes import Node
from workflows.selectors.attention import FAILED_STATUSES
from workflows.selectors.keyset import PAGE_SIZE, keyset_page
from workflows.selectors.navigation import CappedCount
from workflows.selectors.runs import COUNT_LIMIT, Count
from workflows.statuses import OPEN_RUN_STATUSES

PART, ALL, FAILED, OPEN = "child_status", "all", "failed", "open"
STATUSES = {FAILED: FAILED_STATUSES, OPEN: OPEN_RUN_STATUSES}


def children_content(run: Run, total: Count, query: QueryDict, nodes: Mapping[str, Node]) -> dict[str, Any]:
    """Return the context of the tab. `total`: number of all child runs. Cost: three statements."""
    children = run.children.filter(tenant_id=run.tenant_id)
    numbers = {ALL: total, **_numbers(run, children)}
    first = FAILED if numbers[FAILED].number and total.number > PAGE_SIZE else ALL
    part = query.get(PART, "")
    part = part if part in numbers else first
    if part != ALL:
        children = children.filter(status__in=STATUSES[part])
    shown = children.select_related("definition").defer("input", "output", "definition__draft_text")
    shown = shown.order_by("created_at", "id")
    page = keyset_page(shown, at=query.get("children", ""))
    chips = [
        {
            "word": part_name.capitalize(), "number": number, "is_chosen": part_name == part,
            "query": f"?tab=children&{PART}={part_name}",
        }
        for part_name, number in numbers.items()
    ]  # fmt: skip
    return {
        "children": page,
        "shown_children": _with_calls(run, page.rows, nodes),
        "chips": chips if numbers[FAILED].number or numbers[OPEN].number else [],
        "part_total": numbers[part],
    }


def _numbers(run: Run, children: QuerySet[Run]) -> dict[str, Count]:
    counted = {
        part: CappedCount(children.filter(status__in=statuses), limit=COUNT_LIMIT + 1)
        for part, statuses in STATUSES.items()
    }
    found: Any = Run.objects.filter(tenant_id=run.tenant_id, id=run.id).values(**counted).get()
    return {part: Count(found[part]) for part in STATUSES}


def _with_calls(run: Run, children: Any, nodes: Mapping[str, Node]) -> list[dict[str, Any]]:
    """Return the child runs, each with the step that called it and the items of the loops around the step."""
    calls = run.steps.filter(tenant_id=run.tenant_id, child_run__in=[child.id for child in children])
    called = {child: place for child, *place in calls.values_list("child_run", "step_path", "iteration")}
    shown = []
    for child in children:
        path, iteration = called.get(child.id, (child.parent_step_path, ""))
        places = [int(index) + 1 for index in iteration.split(".")] if iteration else []
        loops = zip(nodes[path].loops if path in nodes else (), places, strict=False)
        items = [f"{nodes[loop].title}, item {number}" for loop, number in loops]
        shown.append({"run": child, "step": nodes[path].title if path in nodes else path, "items": items})
    return shown
