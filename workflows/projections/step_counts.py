"""Counting of steps and of ends of runs, each exactly once (docs/reference/screens.md#map).

A run remembers up to which sequence number its steps are counted (`Run.counted_seq`). Counters and this number are
written in one transaction, under the locks of the runs. A step is counted when its row is final. A replay is not
counted, because its original is counted.
"""

import uuid

from django.db import connection

from workflows.models.step_counts import BUCKETS_PER_OCTAVE, WHOLLY_COUNTED
from workflows.projections.transaction import projection_writer

# Bounds of one batch. The steps of a run are not split, so a batch with one long run may have more steps.
MAX_RUNS, MAX_STEPS = 500, 20_000
# Counters of runs that started earlier are deleted. The longest period of the map is 7 days.
KEPT = "8 days"

_CANDIDATES = """
SELECT id, step_count FROM workflow_runs
WHERE tenant_id = %s AND (counted_seq < projection_seq OR (ended_at IS NOT NULL AND counted_seq < %s))
ORDER BY projected_at LIMIT %s
FOR NO KEY UPDATE SKIP LOCKED
"""
_COUNT = f"""
WITH batch AS (
    SELECT id, tenant_id, definition_version_id, counted_seq, status, failed_step_path, ended_at,
           date_trunc('hour', created_at, 'UTC') AS hour
    FROM workflow_runs WHERE tenant_id = %(tenant)s AND id = ANY(%(runs)s) AND replay_of_id IS NULL
      AND created_at > now() - %(kept)s::interval
), steps AS (
    SELECT b.definition_version_id, b.hour, s.step_path, s.branch,
           s.status = 'FAILED' AND NOT (b.status = 'FAILED' AND b.failed_step_path IS NOT NULL AND (
               b.failed_step_path = s.step_path OR starts_with(b.failed_step_path, s.step_path || '.'))) AS is_caught,
           1000 * extract(epoch FROM s.ended_at - CASE WHEN s.attempt = 1 THEN s.started_at ELSE (
               SELECT min(f.started_at) FROM workflow_run_steps f
               WHERE f.tenant_id = s.tenant_id AND f.run_id = s.run_id AND f.step_path = s.step_path
                 AND f.iteration = s.iteration) END) AS ms
    FROM batch b
    JOIN workflow_run_steps s ON s.tenant_id = b.tenant_id AND s.run_id = b.id AND s.projection_seq > b.counted_seq
    WHERE s.status IN ('SUCCEEDED', 'FAILED') AND s.ended_at IS NOT NULL
), measures AS (
    SELECT definition_version_id, hour, step_path,
           'time.' || CASE WHEN ms < 1 THEN 0 ELSE floor({BUCKETS_PER_OCTAVE} * log(2, ms)) + 1 END AS measure
    FROM steps
    UNION ALL SELECT definition_version_id, hour, step_path, 'branch.' || branch FROM steps WHERE branch <> ''
    UNION ALL SELECT definition_version_id, hour, step_path, 'caught' FROM steps WHERE is_caught
    UNION ALL SELECT definition_version_id, hour, '', 'ended.' || status FROM batch WHERE ended_at IS NOT NULL
    UNION ALL SELECT definition_version_id, hour, failed_step_path, 'failed' FROM batch
        WHERE status = 'FAILED' AND ended_at IS NOT NULL AND failed_step_path IS NOT NULL
)
INSERT INTO workflow_step_counts AS known (id, tenant_id, definition_version_id, hour, step_path, measure, count)
SELECT gen_random_uuid(), %(tenant)s, definition_version_id, hour, left(step_path, 500), measure, count(*)
FROM measures GROUP BY definition_version_id, hour, step_path, measure
ORDER BY definition_version_id, hour, step_path, measure
ON CONFLICT (tenant_id, definition_version_id, hour, step_path, measure)
DO UPDATE SET count = known.count + excluded.count
"""  # noqa: S608
_MARK = """
UPDATE workflow_runs SET counted_seq = CASE WHEN ended_at IS NULL THEN projection_seq ELSE %s END
WHERE tenant_id = %s AND id = ANY(%s)
"""
_FORGET = """
DELETE FROM workflow_step_counts WHERE id IN (
    SELECT id FROM workflow_step_counts WHERE tenant_id = %s AND hour < now() - %s::interval LIMIT %s)
"""


def record_step_counts(*, tenant_id: uuid.UUID) -> int:
    """Count one batch of runs of a tenant. Return the number of runs in the batch; 0 means that all are counted.

    Idempotency: a step and an end are counted once, also if several processes count at the same time. A process skips
    runs that another process has locked.
    Cost: three statements over at most `MAX_RUNS` runs and their new steps.
    """
    with projection_writer("step counts"), connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, [tenant_id, WHOLLY_COUNTED, MAX_RUNS])
        runs = _bounded(cursor.fetchall())
        if runs:
            cursor.execute(_COUNT, {"tenant": tenant_id, "runs": runs, "kept": KEPT})
            cursor.execute(_MARK, [WHOLLY_COUNTED, tenant_id, runs])
    return len(runs)


def forget_step_counts(*, tenant_id: uuid.UUID, limit: int = 5_000) -> int:
    """Delete old counters of a tenant, at most `limit`. Return their number."""
    with connection.cursor() as cursor:
        cursor.execute(_FORGET, [tenant_id, KEPT, limit])
        return int(cursor.rowcount)


def _bounded(candidates: list[tuple[uuid.UUID, int]]) -> list[uuid.UUID]:
    """Return the first candidates whose steps together are at most `MAX_STEPS`, and at least one candidate."""
    chosen: list[uuid.UUID] = []
    steps = 0
    for run_id, step_count in candidates:
        steps += step_count
        if chosen and steps > MAX_STEPS:
            break
        chosen.append(run_id)
    return chosen
