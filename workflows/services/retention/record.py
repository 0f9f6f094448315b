"""Row of the command ledger for what one pass deletes (docs/reference/retention.md#how-rows-are-deleted)."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction

from workflows.actors import system_actor
from workflows.ledger import command_open, command_progress
from workflows.models import Command, Tenant
from workflows.services.retention.policy import policy_of
from workflows.statuses import CommandAction


class DeletionRecord:
    """Number of rows that one pass has deleted of a tenant, as one row of its command ledger.

    Each batch writes the row in its own transaction. So the row has the exact numbers also if the process is killed.
    `isEnded` is true after the end of the pass. Without a tenant, nothing is written.
    """

    def __init__(self, tenant: Tenant | None) -> None:
        self._tenant = tenant
        self._command: Command | None = None
        self._rows: Counter[str] = Counter()
        self._batches = 0

    @contextmanager
    def batch(self) -> Iterator[Counter[str]]:
        """Open the transaction of a batch. The block must add the number of deleted rows by table to the counter."""
        deleted: Counter[str] = Counter()
        command, rows = self._command, self._rows
        with transaction.atomic():
            yield deleted
            if self._tenant is not None and deleted.total():
                command, rows = command or self._begin(self._tenant), rows + deleted
                command_progress(command, self._details(rows, self._batches + 1))
        if rows is not self._rows:
            self._command, self._rows, self._batches = command, rows, self._batches + 1

    def end(self, problems: dict[str, str], *, is_whole: bool) -> None:
        """Write that the pass has ended. `problems`: why parts have stopped. `is_whole`: False if it was stopped."""
        if self._command is not None:
            details = {**self._details(self._rows, self._batches), "isEnded": True, "isStopped": not is_whole}
            command_progress(self._command, {**details, **({"problems": problems} if problems else {})})

    def _begin(self, tenant: Tenant) -> Command:
        return command_open(
            actor=system_actor(tenant.id, name="retention"),
            action=CommandAction.PRUNE,
            target_type="retention",
            target_id="",
            payload=policy_of(tenant).as_json(),
        )

    def _details(self, rows: Counter[str], batches: int) -> dict[str, Any]:
        return {"deletedRows": dict(sorted(rows.items())), "batches": batches, "isEnded": False}
