"""Freezing the set of a bulk job: one statement writes an item for each run, with why it is not eligible where it is not."""

import uuid
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from workflows.models import BulkJob, Run
from workflows.services.bulk.actions import BULK_ACTIONS
from workflows.statuses import OPEN_RUN_STATUSES, BulkItemState, CommandState, Engine

# `asked` is what was chosen: ids and their order. Another tenant's run is as one that does not exist.
_FREEZE = """
INSERT INTO workflow_bulk_items (
    id, tenant_id, job_id, position, target_id, target_label, status_then, attempts, state, code, message, decided_at
)
SELECT
    gen_random_uuid(), %(tenant)s, %(job)s, seen.position, seen.id, seen.label, seen.status, 0,
    CASE WHEN seen.code = '' THEN %(pending)s ELSE %(ineligible)s END,
    seen.code,
    CASE seen.code {messages} ELSE '' END,
    CASE WHEN seen.code = '' THEN NULL ELSE now() END
FROM (
    SELECT
        asked.id,
        asked.position,
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
                  AND command.action = %(action)s AND command.state = ANY(%(undone)s)
            ) THEN 'BULK_ALREADY_ASKED'
            ELSE ''
        END AS code
    FROM ({asked}) AS asked
    LEFT JOIN workflow_runs run ON run.id = asked.id AND run.tenant_id = %(tenant)s
) AS seen
"""
_CHOSEN = """
SELECT id, row_number() OVER (ORDER BY created_at, id) AS position
FROM workflow_runs WHERE tenant_id = %(tenant)s AND id IN ({runs}) LIMIT %(most)s
"""
_NAMED = "SELECT id, position FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS named (id, position)"

WHY_NOT = {
    "RUN_NOT_FOUND": "there is no such run",
    "WORKFLOW_LEGACY_RUN_READ_ONLY": "history of an older engine: it can be read, not acted on",
    "WORKFLOW_RUN_CLOSED": "the run had ended already",
    "BULK_ALREADY_ASKED": "the same was asked of it before, and the run has not recorded its end yet",
}


def items_freeze_runs(*, job: BulkJob, runs: QuerySet[Run], most: int) -> int:
    """The number of items: of these runs those of the job's tenant, oldest first, at most `most` of them."""
    chosen = runs.filter(tenant_id=job.tenant_id).order_by().values("pk")
    try:
        sql, values = chosen.query.sql_with_params()
    except EmptyResultSet:
        return 0
    # Django's marks go by place, the others here by name; a percent sign of its text stays doubled.
    named = {f"v{number}": value for number, value in enumerate(values)}
    marked = sql.replace("%%", "%%%%") % tuple(f"%({name})s" for name in named)
    return _frozen(job, _CHOSEN.format(runs=marked), {**named, "most": most})


def items_freeze_ids(*, job: BulkJob, ids: Sequence[uuid.UUID]) -> int:
    """The number of items: one for each of these ids, in this order."""
    return _frozen(job, _NAMED, {"ids": list(ids)})


def _frozen(job: BulkJob, asked: str, values: dict[str, Any]) -> int:
    messages = " ".join(f"WHEN '{code}' THEN %({code})s" for code in WHY_NOT)
    given = {
        **values,
        **WHY_NOT,
        "tenant": job.tenant_id,
        "job": job.id,
        "action": str(job.action),
        "is_for_open": BULK_ACTIONS[job.action].is_for_open,
        "open": [str(status) for status in OPEN_RUN_STATUSES],
        "undone": [str(CommandState.ACCEPTED), str(CommandState.UNKNOWN)],
        "legacy": str(Engine.DB),
        "pending": str(BulkItemState.PENDING),
        "ineligible": str(BulkItemState.INELIGIBLE),
    }
    with connection.cursor() as cursor:
        cursor.execute(_FREEZE.format(asked=asked, messages=messages), given)
        return int(cursor.rowcount)
