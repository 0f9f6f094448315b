from django.db import migrations, models

EVENT_SOURCES = [
    ("rest", "REST API"), ("celery", "Celery task"), ("stream", "Redis stream"), ("outbox", "Outbox"),
    ("admin", "Portal page"), ("schedule", "Schedule"),
]  # fmt: skip
COMMAND_SOURCES = [("admin", "Portal page"), ("api", "API"), ("cli", "Command line"), ("system", "System")]


class Migration(migrations.Migration):
    """Renames the word of a source, because "Admin" beside a person reads as a role. It changes no row."""

    dependencies = [("workflows", "0007_calls_by_end")]

    operations = [
        migrations.AlterField("bulkjob", "source", models.CharField(choices=COMMAND_SOURCES, max_length=20)),
        migrations.AlterField("command", "source", models.CharField(choices=COMMAND_SOURCES, max_length=20)),
        migrations.AlterField("event", "source", models.CharField(choices=EVENT_SOURCES, max_length=20)),
    ]
