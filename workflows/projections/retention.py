"""Deletion of old runs with all their rows, in batches (docs/reference/retention.md#runs).

A family is a run without a parent together with all its child runs. A family is deleted as a whole, in one transaction,
or not at all. The caller reads the families of a batch, asks Temporal about their runs without a lock, and then
deletes. The deletion first locks the runs of the families. Every row that refers to a run needs a lock on that run,
so no process can add a reference while the batch checks and deletes. A batch skips families that another process has
locked, so several processes can delete at the same time.

The walk goes from the newest old runs to the oldest. A replay is younger than its original, so the replay is deleted
first, and the original in the same batch or in a later one.
"""

import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection

from workflows.projections.transaction import projection_writer
from workflows.statuses import OPEN_RUN_STATUSES, BulkState, DeliveryStatus, Engine, WaitStatus

# Bounds of one batch besides the number of families. A family is not split, so one large family can exceed them.
MAX_RUNS, MAX_STEPS = 2_000, 20_000

Position = tuple[datetime, uuid.UUID]


@dataclass(frozen=True)
class Families:
    """Old families of one batch.

    `position`: last family that was read, None if no family is left. `roots`: first runs of the families. `workflows`:
    all runs of the families, each with its workflow id in Temporal. The id is empty if Temporal never had the run.
    """

    position: Position | None
    roots: list[uuid.UUID] = field(default_factory=list)
    workflows: dict[uuid.UUID, str] = field(default_factory=dict)


@dataclass
class RunBatch:
    """Result of one batch. `deleted`: number of rows by table. `kept`: number of old families, by reason."""

    deleted: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)


_CANDIDATES = """
SELECT id, ended_at FROM workflow_runs
WHERE tenant_id = %(tenant)s AND ended_at IS NOT NULL AND root_run_id IS NULL
  AND ended_at <= %(at)s AND (ended_at, id) < (%(at)s, %(id)s)
ORDER BY ended_at DESC, id DESC LIMIT %(limit)s
"""
_FAMILY = """
FROM workflow_runs
WHERE tenant_id = %(tenant)s AND (id = ANY(%(roots)s) OR root_run_id = ANY(%(roots)s))
"""
_FIND = f"""
SELECT id, coalesce(root_run_id, id), step_count, CASE WHEN engine = %(temporal)s THEN temporal_workflow_id ELSE '' END
{_FAMILY}
"""
_LOCK = f"SELECT id, coalesce(root_run_id, id) {_FAMILY} FOR UPDATE SKIP LOCKED"
# Reasons to keep a family, each with a condition on one run of it.
_REASONS = {
    "locked by another process": "NOT run.id = ANY(%(locked)s)",
    "open run": "run.status = ANY(%(open)s) OR run.ended_at IS NULL",
    "run that ended later": "run.ended_at > %(before)s",
    "legal hold": "EXISTS (SELECT FROM workflow_run_holds WHERE tenant_id = run.tenant_id AND run_id = run.id)",
    "open wait": "EXISTS (SELECT FROM workflow_run_waits WHERE tenant_id = run.tenant_id AND run_id = run.id"
    " AND status = %(waiting)s)",
    "delivery on its way": "EXISTS (SELECT FROM workflow_event_deliveries WHERE tenant_id = run.tenant_id"
    " AND run_id = run.id AND status = ANY(%(undecided)s))",
    "bulk job": "EXISTS (SELECT FROM workflow_bulk_jobs job JOIN workflow_bulk_items item"
    " ON item.tenant_id = job.tenant_id AND item.job_id = job.id AND item.target_id = run.id"
    " WHERE job.tenant_id = run.tenant_id AND job.state = ANY(%(jobs)s))",
}
_MEMBERS = (
    "FROM workflow_runs run"
    " WHERE run.tenant_id = %(tenant)s AND (run.id = ANY(%(roots)s) OR run.root_run_id = ANY(%(roots)s))"
)
_KEPT = " UNION ALL ".join(
    f"SELECT coalesce(run.root_run_id, run.id), '{reason}' {_MEMBERS} AND ({condition})"
    for reason, condition in _REASONS.items()
)
_REPLAYS = f"""
SELECT DISTINCT coalesce(run.root_run_id, run.id), coalesce(replay.root_run_id, replay.id)
{
    _MEMBERS.replace(
        "WHERE", "JOIN workflow_runs replay ON replay.tenant_id = run.tenant_id AND replay.replay_of_id = run.id WHERE"
    )
}
"""

_OF_RUNS = "tenant_id = %(tenant)s AND run_id = ANY(%(runs)s)"
_WAITS_OF_RUNS = f"SELECT id FROM workflow_run_waits WHERE {_OF_RUNS}"  # noqa: S608
# A key that an author or an action has computed is the memory of an effect, for example of a payment. Another run may
# have the same key, so this row is kept without its input. A key of the engine begins with the id of its run.
_OWN_KEY = "starts_with(idempotency_key, run_id::text || '/')"
_OF_OTHER_KEYS = f"{_OF_RUNS} AND NOT {_OWN_KEY}"
_TOMBSTONES = """
INSERT INTO workflow_pruned_runs (id, tenant_id, definition_key, ended_at, pruned_at, retention_days)
SELECT id, tenant_id, definition_key, ended_at, clock_timestamp(), %(days)s FROM workflow_runs
WHERE tenant_id = %(tenant)s AND id = ANY(%(runs)s)
ON CONFLICT (id) DO NOTHING
"""
_TABLES = (
    "workflow_tasks", "workflow_run_waits", "workflow_run_steps", "workflow_run_logs", "workflow_run_values",
    "workflow_incident_failures",
)  # fmt: skip
# Statements with the table whose rows they delete. Keys are checked at the commit, so the order is free.
_STATEMENTS = [
    (
        "workflow_task_drafts",
        f"WHERE tenant_id = %(tenant)s AND task_id IN (SELECT id FROM workflow_tasks WHERE {_OF_RUNS})",  # noqa: S608
    ),
    # Two statements, because PostgreSQL uses no index for `run_id = ANY(...) OR wait_id IN (...)`. With an array, it
    # also uses the index if its statistics are old.
    ("workflow_event_deliveries", f"WHERE {_OF_RUNS}"),
    (
        "workflow_event_deliveries",
        f"WHERE tenant_id = %(tenant)s AND wait_id = ANY(ARRAY({_WAITS_OF_RUNS}))",
    ),
    *((table, f"WHERE {_OF_RUNS}") for table in _TABLES),
    ("workflow_action_invocations", f"WHERE {_OF_RUNS} AND {_OWN_KEY}"),
    ("workflow_runs", "WHERE tenant_id = %(tenant)s AND id = ANY(%(runs)s)"),
]
_DETACH = [
    f"UPDATE workflow_action_invocations SET run_id = NULL, input = '{{}}' WHERE {_OF_OTHER_KEYS}",  # noqa: S608
    f"UPDATE workflow_notifications SET run_id = NULL WHERE {_OF_RUNS}",  # noqa: S608
]


def old_families(*, tenant_id: uuid.UUID, before: datetime, after: Position | None, limit: int) -> Families:
    """Return the next families that ended before a time, at most `limit`, without a lock.

    `after` is the position of the previous batch. The bounds MAX_RUNS and MAX_STEPS can make the batch smaller.
    """
    at, last = after or (before, uuid.UUID(int=2**128 - 1))
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, {"tenant": tenant_id, "at": at, "id": last, "limit": limit})
        candidates = cursor.fetchall()
        if not candidates:
            return Families(None)
        ids = [row[0] for row in candidates]
        cursor.execute(_FIND, {"tenant": tenant_id, "roots": ids, "temporal": Engine.TEMPORAL.value})
        rows = cursor.fetchall()
    roots = _bounded(ids, [(root, steps) for _, root, steps, _ in rows])
    is_last = len(roots) == len(candidates) < limit
    chosen = set(roots)
    return Families(
        position=None if is_last else (candidates[len(roots) - 1][1], roots[-1]),
        roots=roots,
        workflows={run_id: workflow_id for run_id, root, _, workflow_id in rows if root in chosen},
    )


def prune_runs(
    *,
    tenant_id: uuid.UUID,
    families: Families,
    before: datetime,
    days: int,
    unended: Mapping[uuid.UUID, str],
    is_dry: bool = False,
) -> RunBatch:
    """Delete families in one transaction, except those that must be kept.

    `unended` has the runs of these families that have not ended before this time in Temporal, each with a reason.
    `days` is the tenant's period, for the row that stays of each run. With `is_dry`, nothing is deleted, and the counts
    say what would be.

    Idempotency: a batch that was killed has deleted nothing. A repeat continues with the families that are left.
    Cost: about 20 statements, each over an index.
    """
    if not families.roots:
        return RunBatch()
    values: dict[str, Any] = {"tenant": tenant_id, "roots": families.roots, "before": before}
    with projection_writer("retention"), connection.cursor() as cursor:
        cursor.execute(_LOCK, values)
        # A run that was added after the families were read was not compared with Temporal, so its family is kept.
        locked = {run_id: root for run_id, root in cursor.fetchall() if run_id in families.workflows}
        open_roots = {root: unended[run_id] for run_id, root in locked.items() if run_id in unended}
        kept = _kept(cursor, {**values, "locked": list(locked)}, open_roots)
        batch = RunBatch(kept=Counter(kept.values()))
        doomed = [run for run, root in locked.items() if root not in kept]
        if is_dry:
            batch.deleted["workflow_runs"] = len(doomed)
        elif doomed:
            _delete(cursor, {"tenant": tenant_id, "runs": doomed, "days": days}, batch.deleted)
        return batch


def _delete(cursor: Any, values: dict[str, Any], deleted: Counter[str]) -> None:
    for statement in (_TOMBSTONES, *_DETACH):
        cursor.execute(statement, values)
    for table, condition in _STATEMENTS:
        cursor.execute(f"DELETE FROM {table} {condition}", values)  # noqa: S608
        if cursor.rowcount:
            deleted[table] += cursor.rowcount


def _bounded(roots: list[uuid.UUID], runs: list[tuple[uuid.UUID, int]]) -> list[uuid.UUID]:
    """Return the first families within the bounds, at least one. `runs`: root and number of steps of each run."""
    sizes = Counter(root for root, _ in runs)
    steps: Counter[uuid.UUID] = Counter()
    for root, step_count in runs:
        steps[root] += step_count
    chosen: list[uuid.UUID] = []
    run_total = step_total = 0
    for root in roots:
        run_total += sizes[root]
        step_total += steps[root]
        if chosen and (run_total > MAX_RUNS or step_total > MAX_STEPS):
            break
        chosen.append(root)
    return chosen


def _kept(cursor: Any, values: dict[str, Any], unended: dict[uuid.UUID, str]) -> dict[uuid.UUID, str]:
    """Return the families that must be kept, each with one reason. `unended`: those that Temporal has not ended.

    This reads after the lock, so it sees every reference that was committed before the lock.
    """
    cursor.execute(
        _KEPT,
        {
            **values,
            "open": [status.value for status in OPEN_RUN_STATUSES],
            "waiting": WaitStatus.WAITING.value,
            "undecided": [DeliveryStatus.PENDING.value, DeliveryStatus.SENT.value],
            "jobs": [state.value for state in (BulkState.PREVIEW, BulkState.RUNNING, BulkState.PAUSED)],
        },
    )
    kept = {**unended, **dict(cursor.fetchall())}
    cursor.execute(_REPLAYS, values)
    edges = [(original, replay) for original, replay in cursor.fetchall() if original != replay]
    inside = set(values["roots"])
    while True:
        more = {original for original, replay in edges if replay not in inside or replay in kept} - kept.keys()
        if not more:
            return kept
        kept.update(dict.fromkeys(more, "replay that is kept"))
