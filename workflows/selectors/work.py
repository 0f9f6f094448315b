"""One piece of work: an original run, its replays, and their replays. Its newest run decides what became of the work.

Every count of failed runs that must not count a run and its replays twice uses this module.

Source: docs/reference/incidents.md#what-counts
"""

from django.db.models import BooleanField, F, Func, OuterRef, Q, QuerySet, Subquery

from workflows.models import Run


class _HasNewerRun(Func):
    """True if the work of a run has a newer run. Expressions: id, `replay_of_id` and `created_at` of the run.

    PostgreSQL evaluates the query for each run, with the index of the replays: it cannot turn it into a join, because
    of the WITH. OFFSET 0 keeps each step a search in an index too.
    """

    output_field = BooleanField()
    template = """EXISTS (
        WITH RECURSIVE own (id, replay_of_id, created_at) AS (VALUES (%(expressions)s)),
        above (id, replay_of_id) AS (
            SELECT id, replay_of_id FROM own
            UNION ALL
            SELECT parent.id, parent.replay_of_id FROM above, LATERAL (
                SELECT run.id, run.replay_of_id FROM workflow_runs run WHERE run.id = above.replay_of_id OFFSET 0
            ) parent
        ),
        work (id, created_at) AS (
            SELECT id, '-infinity'::timestamptz FROM above WHERE replay_of_id IS NULL
            UNION ALL
            SELECT replay.id, replay.created_at FROM work, LATERAL (
                SELECT run.id, run.created_at FROM workflow_runs run WHERE run.replay_of_id = work.id OFFSET 0
            ) replay
        )
        SELECT FROM work, own WHERE (work.created_at, work.id) > (own.created_at, own.id)
    )"""


def runs_that_decide(runs: QuerySet[Run]) -> QuerySet[Run]:
    """Return those of the runs that are the newest of their work: runs without a replay, and the newest replays.

    Cost: one search in an index for each original, and one for each run of the work for each replay.
    """
    replays = Run.objects.filter(replay_of=OuterRef("pk")).order_by().values("id")
    # A scalar subquery stays a search for each run. An EXISTS could become a join that reads all replays.
    is_never_replayed = Q(replay_of__isnull=True, a_replay__isnull=True)
    is_newest_replay = Q(replay_of__isnull=False) & ~Q(_HasNewerRun(F("id"), F("replay_of_id"), F("created_at")))
    return runs.alias(a_replay=Subquery(replays[:1])).filter(is_never_replayed | is_newest_replay)
