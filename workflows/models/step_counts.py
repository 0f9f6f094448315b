"""Counters of the steps of all runs (docs/reference/screens.md#map)."""

from django.db import models

from workflows.models.fields import TenantRow

# Value of `Run.counted_seq` of a run that has ended and is completely counted.
WHOLLY_COUNTED = 2**63 - 1
# Time of an execution in quarters of an octave: bucket n ends at 2 ** (n / 4) ms. Bucket 0 is below 1 ms.
BUCKETS_PER_OCTAVE = 4


class StepCount(TenantRow):
    """Counter of one measure of one step, over the runs of a definition version that started in one hour.

    `step_path` is empty for a measure of the runs themselves. Measures: `time.N` (executions whose time is in bucket
    N), `branch.NAME`, `caught`, `failed` (runs that failed in the step), and `ended.STATUS` (runs).
    """

    definition_version = models.ForeignKey(
        "workflows.DefinitionVersion", on_delete=models.PROTECT, related_name="step_counts"
    )
    hour = models.DateTimeField(help_text="Beginning of the hour in which the runs were created.")
    step_path = models.CharField(max_length=500, blank=True)
    measure = models.CharField(max_length=40)
    count = models.BigIntegerField()

    class Meta:
        db_table = "workflow_step_counts"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "definition_version", "hour", "step_path", "measure"],
                name="workflow_step_counts_once",
            )
        ]
        indexes = [models.Index(fields=["tenant", "hour"], name="workflow_step_counts_by_hour")]

    def __str__(self) -> str:
        return f"{self.step_path} {self.measure} {self.count}"
