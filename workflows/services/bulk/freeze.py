"""Freeze of the selection of a bulk job.

One statement inserts an item for each run. The module `eligibility` then marks the runs that are not eligible.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from workflows.models import BulkJob, Run
from workflows.services.bulk.eligibility import INELIGIBLE_REASONS, items_check
from workflows.statuses import BulkItemState

# `chosen` has the ids and their order. A run of another tenant is reported like a run that does not exist.
_FREEZE = """
INSERT INTO workflow_bulk_items (
    id, tenant_id, job_id, position, target_id, target_label, status_then, attempts, repeats_effects, state, code,
    message, decided_at
)
SELECT
    gen_random_uuid(), %(tenant)s, %(job)s, chosen.position, chosen.id,
    coalesce(rtrim(left(run.definition_key || '@' || run.version || ' ' || run.correlation_key, 200)), ''),
    coalesce(run.status, ''), 0, false,
    CASE WHEN run.id IS NULL THEN %(ineligible)s ELSE %(pending)s END,
    CASE WHEN run.id IS NULL THEN 'RUN_NOT_FOUND' ELSE '' END,
    CASE WHEN run.id IS NULL THEN %(not_found)s ELSE '' END,
    CASE WHEN run.id IS NULL THEN now() END
FROM ({chosen}) AS chosen
LEFT JOIN workflow_runs run ON run.id = chosen.id AND run.tenant_id = %(tenant)s
"""
_BY_QUERY = """
SELECT id, row_number() OVER (ORDER BY created_at, id) AS position
FROM workflow_runs WHERE tenant_id = %(tenant)s AND id IN ({runs}) LIMIT %(most)s
"""
_BY_IDS = "SELECT id, position FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS given (id, position)"


def items_freeze_runs(*, job: BulkJob, runs: QuerySet[Run], most: int) -> int:
    """Insert an item for each of these runs of the job's tenant. Return the number of items.

    The oldest run is first. At most `most` items are inserted.
    """
    query = runs.filter(tenant_id=job.tenant_id).order_by().values("pk").query
    try:
        sql, values = query.sql_with_params()
    except EmptyResultSet:
        return 0
    # Django's placeholders are positional. The placeholders of this module have names. A percent sign in the SQL stays
    # doubled.
    named = {f"v{number}": value for number, value in enumerate(values)}
    named_sql = sql.replace("%%", "%%%%") % tuple(f"%({name})s" for name in named)
    return _freeze(job, _BY_QUERY.format(runs=named_sql), {**named, "most": most})


def items_freeze_ids(*, job: BulkJob, ids: Sequence[uuid.UUID]) -> int:
    """Insert an item for each of these ids, in this order. Return the number of items."""
    return _freeze(job, _BY_IDS, {"ids": list(ids)})


def _freeze(job: BulkJob, chosen: str, values: dict[str, Any]) -> int:
    parameters = {
        **values,
        "tenant": job.tenant_id,
        "job": job.id,
        "not_found": INELIGIBLE_REASONS["RUN_NOT_FOUND"],
        "pending": str(BulkItemState.PENDING),
        "ineligible": str(BulkItemState.INELIGIBLE),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FREEZE.format(chosen=chosen), parameters)
        number = int(cursor.rowcount)
    items_check(job)
    return number
