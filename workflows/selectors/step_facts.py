"""Facts about the steps of one run, summed up in the database: one row for each step path.

Cost: each function needs one statement, and reads the rows of this run only.
"""

import uuid
from typing import Any

from django.db import connection

from workflows.outline.states import StepFacts

_FACTS = """
SELECT step_path,
       count(*) FILTER (WHERE attempt = 1),
       count(*) FILTER (WHERE status = 'SUCCEEDED'),
       count(*) FILTER (WHERE status = 'FAILED'),
       count(*) FILTER (WHERE status = 'STARTED'),
       count(*) FILTER (WHERE status = 'CANCELED'),
       array_agg(DISTINCT branch) FILTER (WHERE branch <> ''),
       (array_agg(iteration ORDER BY (status = 'FAILED') DESC, projection_seq DESC))[1],
       (array_agg(iteration ORDER BY projection_seq DESC))[1],
       max(projection_seq),
       count(*),
       min(started_at),
       CASE WHEN bool_or(ended_at IS NULL) THEN NULL ELSE max(ended_at) END
FROM workflow_run_steps
WHERE tenant_id = %s AND run_id = %s
GROUP BY step_path
"""


def step_facts(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> dict[str, StepFacts]:
    """Return the facts of each step path of a run. Paths without a row are absent."""
    return {row[0]: _facts(row) for row in _rows(_FACTS, [tenant_id, run_id])}


def _facts(row: Any) -> StepFacts:
    _, executions, succeeded, failed, started, canceled, branches, focus, newest, last_seq, attempts, first, last = row
    return StepFacts(
        executions=executions,
        succeeded=succeeded,
        failed=failed,
        started=started,
        canceled=canceled,
        branches=frozenset(branches or ()),
        focus=focus,
        newest=newest,
        last_seq=last_seq,
        attempts=attempts,
        first_started_at=first,
        last_ended_at=last,
    )


def _rows(statement: str, values: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()
