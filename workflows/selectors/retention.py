"""Rows of the page "Retention": legal holds, the checkpoint of the ledger, and the last deletions."""

import uuid
from dataclasses import dataclass

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


@dataclass(frozen=True)
class RetentionFacts:
    """`has_more_holds`: not all legal holds are shown. `checkpoint`: last deleted link of the audit chain."""

    holds: list[RunHold]
    has_more_holds: bool
    checkpoint: LedgerCheckpoint | None
    deletions: list[Deletion]


def retention_facts(*, tenant_id: uuid.UUID) -> RetentionFacts:
    """Return the rows of the page. Cost: three statements."""
    holds = list(
        RunHold.objects.select_related("run")
        .defer("run__input", "run__output", "run__error")
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
    )
