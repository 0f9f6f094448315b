"""Steps of one run for its outline, whatever their number.

The rows of a run are summed up in the database. Only the rows outside of loops and those of the chosen iterations are
loaded, without their payloads. Cost: three statements, and two without a loop.
"""

import re
from dataclasses import fields
from typing import Any

from django.db import connection
from django.db.models import F, TextField
from django.db.models.expressions import Func, Value
from django.db.models.functions import Coalesce

from workflows.engine.definition import Definition
from workflows.models import Run, RunStep
from workflows.outline.bars import StepRow
from workflows.outline.loops import LoopCounts, chosen_iterations
from workflows.outline.nodes import nodes_of
from workflows.outline.rows import RunSteps
from workflows.outline.states import RunPlace
from workflows.selectors.step_facts import step_facts
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus

ITERATION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,19}")
# The steps outside of loops and of one iteration of each loop are fewer. Only attempts without end reach this limit.
MAX_ROWS = 3_000

_LOOPS = """
WITH loops AS (SELECT * FROM unnest(%s::text[], %s::int[], %s::text[]) AS l(path, depth, prefix))
SELECT path, max(item) + 1, array_agg(item ORDER BY item) FILTER (WHERE has_failed)
FROM (
    SELECT l.path, split_part(s.iteration, '.', l.depth + 1)::int AS item, bool_or(s.status = 'FAILED') AS has_failed
    FROM loops l
    JOIN workflow_run_steps s ON s.tenant_id = %s AND s.run_id = %s
        AND starts_with(s.step_path, l.path || '.body.') AND starts_with(s.iteration, l.prefix)
        AND s.iteration ~ '^[0-9]{1,9}([.][0-9]{1,9})*$'
    GROUP BY 1, 2
) items
GROUP BY path
"""


def run_place(run: Run) -> RunPlace:
    """Return where a run is, or where it failed."""
    failed_path = str((run.error or {}).get("nodePath", "")) if run.status == RunStatus.FAILED else ""
    return RunPlace(run.status in OPEN_RUN_STATUSES, run.current_step_path, failed_path)


def run_steps(run: Run, definition: Definition, *, step: str = "", iteration: str = "") -> RunSteps:
    """Return the steps of a run. `step` and `iteration` are those of the selection; an unreadable one is ignored."""
    place = run_place(run)
    facts = step_facts(tenant_id=run.tenant_id, run_id=run.id)
    nodes = nodes_of(definition)
    wanted = iteration if ITERATION.fullmatch(iteration) else ""
    chosen = chosen_iterations(nodes, facts, place, step=step, iteration=wanted)
    loops = _loop_counts(run, {node.path: len(node.loops) for node in nodes if node.path in chosen}, chosen)
    return RunSteps(place, facts, _rows(run, {"", *chosen.values()}), chosen, loops)


def _loop_counts(run: Run, depths: dict[str, int], chosen: dict[str, str]) -> dict[str, LoopCounts]:
    if not chosen:
        return {}
    paths = list(chosen)
    prefixes = [chosen[path].rpartition(".")[0] for path in paths]
    values: list[Any] = [
        paths,
        [depths[path] for path in paths],
        [f"{prefix}." if prefix else "" for prefix in prefixes],
        run.tenant_id,
        run.id,
    ]
    with connection.cursor() as cursor:
        cursor.execute(_LOOPS, values)
        return {path: LoopCounts(total, tuple(failed or ())) for path, total, failed in cursor.fetchall()}


def _text_of(field: str, key: str) -> Func:
    """Return a text inside a column of the type `json`, or an empty text."""
    text = Func(F(field), Value(key), template="(%(expressions)s)", arg_joiner=" ->> ", output_field=TextField())
    return Coalesce(text, Value(""), output_field=TextField())


def _rows(run: Run, iterations: set[str]) -> list[StepRow]:
    rows = (
        RunStep.objects.filter(tenant_id=run.tenant_id, run=run, iteration__in=iterations)
        .order_by("-projection_seq", "-id")
        .annotate(
            path=F("step_path"),
            type=F("step_type"),
            error_category=_text_of("error", "category"),
            error_code=_text_of("error", "code"),
            child_id=F("child_run_id"),
            child_status=Coalesce(F("child_run__status"), Value("")),
            child_name=Coalesce(F("child_run__definition_key"), Value("")),
        )
    )
    return [StepRow(**row) for row in rows.values(*(field.name for field in fields(StepRow)))[:MAX_ROWS]]
