"""Saved views of the run list (docs/reference/screens.md#run-list)."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from workflows.models.fields import TenantRow


class SavedView(TenantRow):
    """Filters, order and columns of the run list under a name. A shared view is offered to all members."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    user_name = models.CharField(max_length=200, help_text="Name of the owner when the view was saved.")
    name = models.CharField(max_length=100)
    query = models.CharField(max_length=4000, blank=True, help_text="Query string of the run list.")
    is_shared = models.BooleanField(default=False)
    saved_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "workflow_saved_views"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user", "name"], name="workflow_saved_views_one_per_name")
        ]
        indexes = [models.Index(fields=["tenant", "is_shared", "name"], name="workflow_saved_views_shared")]

    def __str__(self) -> str:
        return self.name
