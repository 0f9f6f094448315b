"""Rows of retention: legal holds, runs that were deleted, and the beginning of each command ledger.

Source: docs/reference/retention.md
"""

from django.db import models
from django.utils import timezone

from workflows.models.fields import TenantRow


class RunHold(TenantRow):
    """Legal hold on a run. Retention deletes neither the run nor its family. A release deletes this row.

    The command ledger keeps who set and released a hold.
    """

    run = models.ForeignKey("workflows.Run", on_delete=models.PROTECT, related_name="holds")
    reason = models.TextField()
    held_by_name = models.CharField(max_length=200)
    held_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_run_holds"
        constraints = [models.UniqueConstraint(fields=["tenant", "run"], name="workflow_run_holds_once")]

    def __str__(self) -> str:
        return f"hold on {self.run_id}"


class PrunedRun(TenantRow):
    """Run that retention has deleted. The row has the id of the run, and nothing of its content.

    Pages and responses about the run read this row, so that they can say when and why the run was deleted.
    """

    definition_key = models.CharField(max_length=200)
    ended_at = models.DateTimeField()
    pruned_at = models.DateTimeField(default=timezone.now)
    retention_days = models.PositiveIntegerField(help_text="Period of the tenant when the run was deleted.")

    class Meta:
        db_table = "workflow_pruned_runs"
        indexes = [models.Index(fields=["tenant", "pruned_at"], name="workflow_pruned_runs_by_age")]

    def __str__(self) -> str:
        return f"{self.definition_key} {self.id}"


class LedgerCheckpoint(TenantRow):
    """Last link of the audit chain that retention has deleted. `manage.py verify_audit` continues after this link.

    Only the database function `workflow_ledger_prune` (migration 0002) writes this table.
    """

    seq = models.BigIntegerField(help_text="Position of the last deleted link. All links up to it are deleted.")
    hash = models.CharField(max_length=64, help_text="Hash of the last deleted link.")
    written_at = models.DateTimeField(help_text="Time at which the last deleted link was written.")
    commands = models.BigIntegerField(default=0, help_text="Number of deleted rows of the command ledger.")
    pruned_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_ledger_checkpoints"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="workflow_ledger_checkpoints_once")]

    def __str__(self) -> str:
        return f"{self.seq} {self.hash[:12]}"
