"""Rows of the page "Retention": legal holds, the checkpoint of the ledger, and the last deletions."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from workflows.models import Command, LedgerCheckpoint, RunHold
from workflows.statuses import CommandAction

SHOWN_HOLDS, SHOWN_DELETIONS = 50, 5
WORDS = {
    "workflow_runs": "runs",
    "workflow_runtime_events": "events",
    "workflow_notifications": "notifications",
    "workflow_commands": "commands of the ledger",
}


@dataclass(frozen=True)
class Deletion:
    """One pass that has deleted rows. `rows`: number by table."""

    command: Command
    rows: dict[str, int]

    @property
    def lines(self) -> list[str]:
        """Return the numbers with the words for the rows that people know, and one for all other rows."""
        shown = [f"{words}: {self.rows[table]:,}" for table, words in WORDS.items() if table in self.rows]
        others = sum(count for table, count in self.rows.items() if table not in WORDS)
        return [*shown, f"other rows: {others:,}"] if others else shown

    @property
    def state(self) -> str:
        """Return what is special about a pass as text, or an empty text."""
        details = self.command.details or {}
        if details.get("isStopped"):
            return "stopped early, the next pass continues"
        return "" if details.get("isEnded", True) else "running, or its process was killed"


@dataclass(frozen=True)
class LedgerHold:
    """Oldest row of the ledger that a legal hold keeps. `run_id`: the run with the hold."""

    run_id: uuid.UUID
    seq: int
    written_at: datetime


# The ledger rows about a run have its id, or they are older than the run and have it as their target. Each search for
# the oldest one is over an index.
_OLDEST_OF_HOLDS = """
WITH family AS MATERIALIZED (
    SELECT hold.run_id AS held, run.id FROM workflow_run_holds hold
    JOIN workflow_runs of_hold ON of_hold.id = hold.run_id
    CROSS JOIN LATERAL (
        SELECT id FROM workflow_runs WHERE id = coalesce(of_hold.root_run_id, of_hold.id)
        UNION ALL
        SELECT id FROM workflow_runs WHERE root_run_id = coalesce(of_hold.root_run_id, of_hold.id)
    ) run
    WHERE hold.tenant_id = %(tenant)s ORDER BY hold.held_at LIMIT %(limit)s
), oldest AS (
    SELECT family.held, command.id FROM family CROSS JOIN LATERAL (
        (SELECT id, requested_at FROM workflow_commands WHERE tenant_id = %(tenant)s AND run_id = family.id
         ORDER BY requested_at LIMIT 1)
        UNION ALL
        (SELECT id, requested_at FROM workflow_commands
         WHERE tenant_id = %(tenant)s AND target_type = 'run' AND target_id = family.id::text
         ORDER BY requested_at LIMIT 1)
    ) command ORDER BY command.requested_at LIMIT 1
)
SELECT oldest.held, entry.seq, entry.written_at FROM oldest
JOIN workflow_command_entries entry ON entry.command_id = oldest.id AND entry.tenant_id = %(tenant)s
ORDER BY entry.seq LIMIT 1
"""
# Runs of families with a hold that are searched for the oldest row of the ledger. The oldest holds come first.
SEARCHED_RUNS = 1_000


@dataclass(frozen=True)
class RetentionFacts:
    """`has_more_holds`: not all legal holds are shown. `checkpoint`: last deleted link of the audit chain.

    `ledger_hold`: the oldest row that a hold keeps, if the row is older than the period of the ledger.
    """

    holds: list[RunHold]
    has_more_holds: bool
    checkpoint: LedgerCheckpoint | None
    deletions: list[Deletion]
    ledger_hold: LedgerHold | None


def retention_facts(*, tenant_id: uuid.UUID, ledger_before: datetime) -> RetentionFacts:
    """Return the rows of the page. `ledger_before`: older rows of the ledger are deleted. Cost: four statements."""
    holds = list(
        RunHold.objects.select_related("run__definition")
        .defer("run__input", "run__output", "run__error", "run__definition__draft_text")
        .filter(tenant_id=tenant_id)
        .order_by("-held_at")[: SHOWN_HOLDS + 1]
    )
    deletions = Command.objects.filter(tenant_id=tenant_id, target_id="", action=CommandAction.PRUNE)
    return RetentionFacts(
        holds=holds[:SHOWN_HOLDS],
        has_more_holds=len(holds) > SHOWN_HOLDS,
        checkpoint=LedgerCheckpoint.objects.filter(tenant_id=tenant_id).first(),
        deletions=[
            Deletion(command, (command.details or {}).get("deletedRows", {}))
            for command in deletions.order_by("-requested_at")[:SHOWN_DELETIONS]
        ],
        ledger_hold=_ledger_hold(tenant_id, ledger_before) if holds else None,
    )


def _ledger_hold(tenant_id: uuid.UUID, before: datetime) -> LedgerHold | None:
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST_OF_HOLDS, {"tenant": tenant_id, "limit": SEARCHED_RUNS})
        row = cursor.fetchone()
    return None if row is None or row[2] >= before else LedgerHold(*row)
