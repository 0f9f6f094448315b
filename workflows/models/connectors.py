"""HTTP connectors: actions that a tenant declares in the database (docs/reference/engine.md#http-connectors)."""

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from workflows.models.fields import OrderedJSONField, TenantRow

ACTION_ID_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$"


class Connector(TenantRow):
    """One version of an HTTP connector. Definitions call it by `action_id` and `version`, like any other action.

    Shapes: `spec` has the fields of `workflows.actions.connector_spec.ConnectorSpec`.
    """

    action_id = models.CharField(max_length=200, validators=[RegexValidator(ACTION_ID_PATTERN)])
    version = models.PositiveIntegerField()
    label = models.CharField(max_length=200)
    spec = OrderedJSONField(default=dict)
    created_by_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "workflow_connectors"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "action_id", "version"], name="workflow_connectors_version")
        ]

    def __str__(self) -> str:
        return f"{self.action_id}@{self.version}"
