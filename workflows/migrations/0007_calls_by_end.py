from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds an index. It is built without a lock, because the table has a row for each call of an action."""

    atomic = False

    dependencies = [("workflows", "0006_incident_run_count")]

    operations = [
        AddIndexConcurrently(
            model_name="actioninvocation",
            index=models.Index(
                condition=models.Q(("ended_at__isnull", False)),
                fields=["tenant", "-ended_at"],
                include=("action_id", "action_version", "status"),
                name="workflow_invocations_ended",
            ),
        )
    ]
