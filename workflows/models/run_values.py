"""Business data of runs: values of the payload and of variables, for filters and orders of the run list.

Source: docs/reference/screens.md#business-data
"""

from django.db import models
from django.db.models import Q

from workflows.models.fields import TenantRow


def is_variable(path: str) -> bool:
    """Return True if a search path names a variable at the end of the run. Other paths lead into the payload."""
    return path.startswith("vars.")


class RunValue(TenantRow):
    """Value at one search path of the definition, as it was when the run started, or ended for a variable."""

    run = models.ForeignKey("workflows.Run", on_delete=models.CASCADE, related_name="values")
    definition = models.ForeignKey("workflows.Definition", on_delete=models.PROTECT, related_name="+")
    path = models.CharField(max_length=200)
    shown = models.CharField(max_length=200, help_text="Beginning of the value as text.")
    text = models.CharField(
        max_length=200, db_collation="C", blank=True, help_text="Beginning of the value, without letter case."
    )
    # Row-level security lets comparisons of double precision use an index, and not those of numeric.
    number = models.FloatField(null=True, blank=True)
    moment = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "workflow_run_values"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "run", "path"], name="workflow_run_values_one_per_path")
        ]
        indexes = [
            models.Index(fields=["tenant", "definition", "path", "text"], name="workflow_run_values_by_text"),
            models.Index(
                fields=["tenant", "definition", "path", "number"],
                name="workflow_run_values_by_number",
                condition=Q(number__isnull=False),
            ),
            models.Index(
                fields=["tenant", "definition", "path", "moment"],
                name="workflow_run_values_by_moment",
                condition=Q(moment__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.path} {self.shown}"
