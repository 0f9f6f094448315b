"""Freeze of the selection of a bulk job.

One statement inserts an item for each run. If the run is not eligible, the item has the reason.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from workflows.models import BulkJob, Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.statuses import OPEN_RUN_STATUSES, BulkItemState, CommandState, Engine

# `chosen` has the ids and their order. A run of another tenant is reported like a run that does not exist.
_FREEZE = """
INSERT INTO workflow_bulk_items (
    id, tenant_id, job_id, position, target_id, target_label, status_then, attempts, state, code, message, decided_at
)
SELECT
    gen_random_uuid(), %(tenant)s, %(job)s, checked.position, checked.id, checked.label, checked.status, 0,
    CASE WHEN checked.code = '' THEN %(pending)s ELSE %(ineligible)s END,
    checked.code,
    CASE checked.code {messages} ELSE '' END,
    CASE WHEN checked.code = '' THEN NULL ELSE now() END
FROM (
    SELECT
        chosen.id,
        chosen.position,
        coalesce(rtrim(left(run.definition_key || '@' || run.version || ' ' || run.correlation_key, 200)), '') AS label,
        coalesce(run.status, '') AS status,
        CASE
            WHEN run.id IS NULL THEN 'RUN_NOT_FOUND'
            WHEN run.engine = %(legacy)s THEN 'WORKFLOW_LEGACY_RUN_READ_ONLY'
            WHEN NOT %(is_for_open)s THEN ''
            WHEN NOT (run.status = ANY(%(open)s)) THEN 'WORKFLOW_RUN_CLOSED'
            WHEN EXISTS (
                SELECT FROM workflow_commands command
                WHERE command.tenant_id = run.tenant_id AND command.run_id = run.id
                  AND command.action = %(action)s AND command.state = ANY(%(unobserved)s)
            ) THEN 'BULK_ALREADY_ASKED'
            ELSE ''
        END AS code
    FROM ({chosen}) AS chosen
    LEFT JOIN workflow_runs run ON run.id = chosen.id AND run.tenant_id = %(tenant)s
) AS checked
"""
_BY_QUERY = """
SELECT id, row_number() OVER (ORDER BY created_at, id) AS position
FROM workflow_runs WHERE tenant_id = %(tenant)s AND id IN ({runs}) LIMIT %(most)s
"""
_BY_IDS = "SELECT id, position FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS given (id, position)"

INELIGIBLE_REASONS = {
    "RUN_NOT_FOUND": "there is no run with this id",
    "WORKFLOW_LEGACY_RUN_READ_ONLY": "the run belongs to the history of an older engine and can only be read",
    "WORKFLOW_RUN_CLOSED": "the run had already ended",
    "BULK_ALREADY_ASKED": "the same request was sent before, and the run has not recorded its end yet",
}


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
    messages = " ".join(f"WHEN '{code}' THEN %({code})s" for code in INELIGIBLE_REASONS)
    parameters = {
        **values,
        **INELIGIBLE_REASONS,
        "tenant": job.tenant_id,
        "job": job.id,
        "action": str(job.action),
        "is_for_open": BULK_ACTIONS[job.action].is_for_open,
        "open": [str(status) for status in OPEN_RUN_STATUSES],
        "unobserved": [str(CommandState.ACCEPTED), str(CommandState.UNKNOWN)],
        "legacy": str(Engine.DB),
        "pending": str(BulkItemState.PENDING),
        "ineligible": str(BulkItemState.INELIGIBLE),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FREEZE.format(chosen=chosen, messages=messages), parameters)
        return int(cursor.rowcount)
