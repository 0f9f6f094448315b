"""All tables of the app, with their constraints and indexes."""

import django.core.validators
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.fields.json
import django.db.models.functions.comparison
import django.db.models.functions.text
import django.utils.timezone
import workflows.models.fields
import workflows.models.schedules
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Tenant",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("is_active", models.BooleanField(default=True)),
                ("closed_run_retention_days", models.PositiveIntegerField(default=90)),
                ("event_retention_days", models.PositiveIntegerField(default=90)),
                ("ledger_retention_days", models.PositiveIntegerField(default=730)),
                ("notification_retention_days", models.PositiveIntegerField(default=90)),
                ("sign_in_retention_days", models.PositiveIntegerField(default=365)),
                ("delivery_concurrency_limit", models.PositiveIntegerField(blank=True, null=True)),
                ("redaction_rules", models.JSONField(blank=True, default=list)),
                ("events_per_second_limit", models.PositiveIntegerField(blank=True, null=True)),
                ("open_runs_limit", models.PositiveIntegerField(blank=True, null=True)),
                ("stored_bytes_limit", models.PositiveBigIntegerField(blank=True, null=True)),
                (
                    "usage",
                    models.JSONField(
                        blank=True, default=dict, help_text="Last measurement of what the limits limit."
                    ),
                ),
                ("usage_at", models.DateTimeField(blank=True, null=True)),
                ("maintenance_since", models.DateTimeField(blank=True, null=True)),
                ("maintenance_reason", models.CharField(blank=True, max_length=500)),
                ("maintenance_by_name", models.CharField(blank=True, max_length=200)),
                ("requires_second_factor", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                "db_table": "tenants",
            },
        ),
        migrations.CreateModel(
            name="PortalMaintenance",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False),
                ),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("reason", models.CharField(max_length=500)),
                ("by_name", models.CharField(max_length=200)),
            ],
            options={
                "db_table": "portal_maintenance",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="portal_maintenance_one_row")
                ],
            },
        ),
        migrations.CreateModel(
            name="Command",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("cancel", "Cancel run"),
                            ("terminate", "Terminate run"),
                            ("replay", "Replay run"),
                            ("resume", "Resume run"),
                            ("retry", "Retry run"),
                            ("requeue_event_wait", "Requeue event wait"),
                            ("start_run", "Start run"),
                            ("send_event", "Send event"),
                            ("complete_task", "Complete task"),
                            ("claim_task", "Claim task"),
                            ("release_task", "Release task"),
                            ("assign_task", "Assign task"),
                            ("redeliver", "Redeliver"),
                            ("discard", "Discard"),
                            ("publish", "Publish definition"),
                            ("import", "Import bundle"),
                            ("edit_event_type", "Edit event type"),
                            ("edit_schema", "Edit schema"),
                            ("edit_connector", "Edit connector"),
                            ("test_connector", "Test connector"),
                            ("save_secret", "Save secret"),
                            ("delete_secret", "Delete secret"),
                            ("rotate_secrets", "Rotate secrets"),
                            ("edit_redaction", "Edit redaction rules"),
                            ("bulk", "Bulk job"),
                            ("repair", "Repair projection"),
                            ("pause", "Pause definition"),
                            ("unpause", "Resume definition"),
                            ("create_definition", "Create definition"),
                            ("edit_definition", "Edit definition"),
                            ("roll_back", "Roll back definition"),
                            ("archive", "Archive definition"),
                            ("unarchive", "Take definition out of the archive"),
                            ("delete_definition", "Delete definition"),
                            ("edit_schedule", "Edit schedule"),
                            ("pause_schedule", "Pause schedule"),
                            ("resume_schedule", "Resume schedule"),
                            ("trigger_schedule", "Trigger schedule now"),
                            ("backfill_schedule", "Backfill schedule"),
                            ("edit_calendar", "Edit holiday calendar"),
                            ("edit_incident", "Change incident"),
                            ("create_token", "Create token"),
                            ("rotate_token", "Rotate token"),
                            ("revoke_token", "Revoke token"),
                            ("save_member", "Save member"),
                            ("save_identity_provider", "Save identity provider"),
                            ("delete_identity_provider", "Delete identity provider"),
                            ("remove_member", "Remove member"),
                            ("invite_member", "Invite member"),
                            ("resend_invitation", "Send invitation again"),
                            ("revoke_invitation", "Revoke invitation"),
                            ("accept_invitation", "Accept invitation"),
                            ("create_tenant", "Create tenant"),
                            ("edit_tenant", "Edit tenant"),
                            ("start_maintenance", "Start maintenance"),
                            ("end_maintenance", "End maintenance"),
                            ("export_ledger", "Export ledger"),
                            ("edit_view", "Change saved view"),
                            ("edit_retention", "Change retention periods"),
                            ("hold_run", "Set legal hold"),
                            ("release_run", "Release legal hold"),
                            ("prune", "Delete old data"),
                        ],
                        max_length=40,
                    ),
                ),
                ("target_type", models.CharField(max_length=40)),
                ("target_id", models.CharField(blank=True, max_length=200)),
                ("actor_type", models.CharField(max_length=20)),
                ("actor_id", models.CharField(blank=True, max_length=64)),
                ("actor_name", models.CharField(max_length=200)),
                (
                    "source",
                    models.CharField(
                        choices=[("admin", "Admin"), ("api", "API"), ("cli", "Command line"), ("system", "System")],
                        max_length=20,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("idempotency_key", models.CharField(blank=True, max_length=200)),
                ("request_hash", models.CharField(blank=True, max_length=64)),
                ("payload", models.JSONField(blank=True, help_text="Content of the request, redacted.", null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("requested", "Requested"),
                            ("accepted", "Accepted"),
                            ("observed", "Observed"),
                            ("refused", "Refused"),
                            ("failed", "Failed"),
                            ("unknown", "Unknown"),
                        ],
                        default="requested",
                        max_length=20,
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=100)),
                ("message", models.TextField(blank=True)),
                ("details", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                (
                    "http_status",
                    models.PositiveSmallIntegerField(blank=True, help_text="HTTP status of a refusal.", null=True),
                ),
                ("requested_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "decided_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time since which the command is accepted, refused, failed or unknown.",
                        null=True,
                    ),
                ),
                ("observed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "parent",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="items",
                        to="workflows.command",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "command ledger",
                "db_table": "workflow_commands",
                "indexes": [
                    models.Index(fields=["tenant", "-requested_at"], name="workflow_commands_newest"),
                    models.Index(
                        condition=models.Q(("parent__isnull", True)),
                        fields=["tenant", "-requested_at"],
                        name="workflow_commands_whole",
                    ),
                    models.Index(fields=["tenant", "target_id", "-requested_at"], name="workflow_commands_by_target"),
                    models.Index(fields=["tenant", "actor_name", "-requested_at"], name="workflow_commands_by_actor"),
                    models.Index(fields=["tenant", "action", "-requested_at"], name="workflow_commands_by_action"),
                    models.Index(fields=["tenant", "state", "-requested_at"], name="workflow_commands_by_state"),
                    models.Index(
                        condition=models.Q(("parent__isnull", False)),
                        fields=["tenant", "parent"],
                        name="workflow_commands_of_parent",
                    ),
                    models.Index(
                        condition=models.Q(("state__in", ["requested", "unknown", "accepted"])),
                        fields=["requested_at"],
                        name="workflow_commands_undecided",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("idempotency_key", ""), _negated=True),
                        fields=("tenant", "actor_type", "actor_id", "idempotency_key"),
                        name="workflow_commands_idempotency",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BulkJob",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("cancel", "Cancel run"),
                            ("terminate", "Terminate run"),
                            ("replay", "Replay run"),
                            ("resume", "Resume run"),
                            ("retry", "Retry run"),
                            ("requeue_event_wait", "Requeue event wait"),
                            ("start_run", "Start run"),
                            ("send_event", "Send event"),
                            ("complete_task", "Complete task"),
                            ("claim_task", "Claim task"),
                            ("release_task", "Release task"),
                            ("assign_task", "Assign task"),
                            ("redeliver", "Redeliver"),
                            ("discard", "Discard"),
                            ("publish", "Publish definition"),
                            ("import", "Import bundle"),
                            ("edit_event_type", "Edit event type"),
                            ("edit_schema", "Edit schema"),
                            ("edit_connector", "Edit connector"),
                            ("test_connector", "Test connector"),
                            ("save_secret", "Save secret"),
                            ("delete_secret", "Delete secret"),
                            ("rotate_secrets", "Rotate secrets"),
                            ("edit_redaction", "Edit redaction rules"),
                            ("bulk", "Bulk job"),
                            ("repair", "Repair projection"),
                            ("pause", "Pause definition"),
                            ("unpause", "Resume definition"),
                            ("create_definition", "Create definition"),
                            ("edit_definition", "Edit definition"),
                            ("roll_back", "Roll back definition"),
                            ("archive", "Archive definition"),
                            ("unarchive", "Take definition out of the archive"),
                            ("delete_definition", "Delete definition"),
                            ("edit_schedule", "Edit schedule"),
                            ("pause_schedule", "Pause schedule"),
                            ("resume_schedule", "Resume schedule"),
                            ("trigger_schedule", "Trigger schedule now"),
                            ("backfill_schedule", "Backfill schedule"),
                            ("edit_calendar", "Edit holiday calendar"),
                            ("edit_incident", "Change incident"),
                            ("create_token", "Create token"),
                            ("rotate_token", "Rotate token"),
                            ("revoke_token", "Revoke token"),
                            ("save_member", "Save member"),
                            ("save_identity_provider", "Save identity provider"),
                            ("delete_identity_provider", "Delete identity provider"),
                            ("remove_member", "Remove member"),
                            ("invite_member", "Invite member"),
                            ("resend_invitation", "Send invitation again"),
                            ("revoke_invitation", "Revoke invitation"),
                            ("accept_invitation", "Accept invitation"),
                            ("create_tenant", "Create tenant"),
                            ("edit_tenant", "Edit tenant"),
                            ("start_maintenance", "Start maintenance"),
                            ("end_maintenance", "End maintenance"),
                            ("export_ledger", "Export ledger"),
                            ("edit_view", "Change saved view"),
                            ("edit_retention", "Change retention periods"),
                            ("hold_run", "Set legal hold"),
                            ("release_run", "Release legal hold"),
                            ("prune", "Delete old data"),
                        ],
                        max_length=40,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                (
                    "selection",
                    workflows.models.fields.OrderedJSONField(
                        default=dict, help_text="The filters or ids that chose the runs."
                    ),
                ),
                ("actor_type", models.CharField(max_length=20)),
                ("actor_id", models.CharField(blank=True, max_length=64)),
                ("actor_name", models.CharField(max_length=200)),
                (
                    "actor_role",
                    models.CharField(
                        choices=[
                            ("viewer", "Viewer"),
                            ("operator", "Operator"),
                            ("author", "Author"),
                            ("admin", "Admin"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[("admin", "Admin"), ("api", "API"), ("cli", "Command line"), ("system", "System")],
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("preview", "Preview"),
                            ("running", "Running"),
                            ("paused", "Paused"),
                            ("stopped", "Stopped"),
                            ("done", "Done"),
                        ],
                        default="preview",
                        max_length=20,
                    ),
                ),
                ("rate_per_second", models.FloatField(default=20)),
                (
                    "replay_version",
                    models.CharField(
                        choices=[("pinned", "Version of the original run"), ("published", "Published version")],
                        default="pinned",
                        max_length=20,
                    ),
                ),
                (
                    "allows_another_run",
                    models.BooleanField(
                        default=False,
                        help_text="Replay also if another run of the key is open or has succeeded since.",
                    ),
                ),
                (
                    "accepts_repeats",
                    models.BooleanField(
                        default=False,
                        help_text="A person accepts that actions that are not idempotent repeat their effects.",
                    ),
                ),
                (
                    "preview",
                    workflows.models.fields.OrderedJSONField(
                        blank=True, help_text="Facts of the preview, as of the freeze.", null=True
                    ),
                ),
                (
                    "is_first_only",
                    models.BooleanField(
                        default=False, help_text="The job pauses after the request for its first run."
                    ),
                ),
                (
                    "total",
                    models.PositiveIntegerField(
                        default=0, help_text="Number of items, including those that are not eligible."
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "next_slice_at",
                    models.DateTimeField(blank=True, help_text="Earliest time of the next slice of work.", null=True),
                ),
                (
                    "command",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.command",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_bulk_jobs",
                "indexes": [
                    models.Index(fields=["tenant", "-created_at"], name="workflow_bulk_jobs_newest"),
                    models.Index(
                        condition=models.Q(("state", "running")),
                        fields=["next_slice_at"],
                        name="workflow_bulk_jobs_running",
                    ),
                    models.Index(
                        condition=models.Q(("state", "paused")),
                        fields=["tenant", "-started_at"],
                        name="workflow_bulk_jobs_paused",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Definition",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        max_length=200, validators=[django.core.validators.RegexValidator("^[a-z0-9][a-z0-9._-]*$")]
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True)),
                ("draft_text", models.TextField(blank=True, help_text="Canonical text of the draft.")),
                (
                    "draft_version",
                    models.PositiveIntegerField(
                        default=0, help_text="Number of saves. A save that names an older number is refused."
                    ),
                ),
                ("payload_schema_ref", models.CharField(blank=True, max_length=200)),
                (
                    "payload_schema_mode",
                    models.CharField(
                        choices=[
                            ("pinned", "Pinned"),
                            ("latest", "Latest"),
                            ("inferred", "Inferred from the trigger event"),
                        ],
                        default="pinned",
                        max_length=20,
                    ),
                ),
                ("pinned_payload_schema_ref", models.CharField(blank=True, max_length=200)),
                (
                    "foreign_id",
                    models.CharField(
                        blank=True,
                        help_text="Id of the definition in the product that exported its bundle.",
                        max_length=200,
                    ),
                ),
                ("is_system", models.BooleanField(default=False)),
                ("is_visible", models.BooleanField(default=True)),
                ("is_paused", models.BooleanField(default=False)),
                ("paused_reason", models.CharField(blank=True, max_length=2000)),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("paused_by_name", models.CharField(blank=True, max_length=200)),
                (
                    "is_auto_paused",
                    models.BooleanField(default=False, help_text="The portal paused it, because too many runs failed."),
                ),
                (
                    "failures_counted_from",
                    models.DateTimeField(
                        blank=True,
                        help_text="Runs that were created earlier do not count towards the failure rate.",
                        null=True,
                    ),
                ),
                ("archived_at", models.DateTimeField(blank=True, null=True)),
                ("deleted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "owner",
                    models.CharField(blank=True, help_text="Team or person that is responsible.", max_length=200),
                ),
                ("contact", models.CharField(blank=True, help_text="How to reach the owner.", max_length=200)),
                (
                    "runbook_url",
                    models.CharField(blank=True, help_text="Link to the instructions for a failure.", max_length=500),
                ),
                ("concurrency_limit", models.PositiveIntegerField(blank=True, null=True)),
                ("auto_pause_on_failure", models.BooleanField(default=False)),
                ("failure_rate_threshold", models.FloatField(blank=True, null=True)),
                ("failure_rate_min_runs", models.PositiveIntegerField(blank=True, null=True)),
                ("retention_policy_override", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                (
                    "concurrency",
                    workflows.models.fields.OrderedJSONField(
                        blank=True, help_text="At most one open run per key: `{key, onConflict}`.", null=True
                    ),
                ),
                (
                    "search_paths",
                    workflows.models.fields.OrderedJSONField(
                        blank=True, help_text="Business data: [{path, type, label, currency}].", null=True
                    ),
                ),
                (
                    "scenarios",
                    workflows.models.fields.OrderedJSONField(
                        blank=True, default=list, help_text="Example runs with their expected results."
                    ),
                ),
                (
                    "bundle_differences",
                    workflows.models.fields.OrderedJSONField(
                        blank=True,
                        help_text="Where the text of the imported bundle differs from an export.",
                        null=True,
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_definitions",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("deleted_at__isnull", True)),
                        fields=("tenant", "key"),
                        name="workflow_definitions_key",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DefinitionVersion",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("canonical_text", models.TextField()),
                ("definition_hash", models.CharField(max_length=64)),
                (
                    "trigger_type",
                    models.CharField(
                        choices=[
                            ("manual", "Manual"),
                            ("event", "Event"),
                            ("schedule", "Schedule"),
                            ("recurring", "Recurring"),
                            ("child", "Child"),
                            ("replay", "Replay"),
                        ],
                        default="manual",
                        max_length=20,
                    ),
                ),
                ("trigger_event_name", models.CharField(blank=True, max_length=200)),
                ("payload_schema_json", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                (
                    "note",
                    models.CharField(
                        blank=True, help_text="What the author wrote at the publication.", max_length=2000
                    ),
                ),
                (
                    "rolled_back_to",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Number of the older version that this version publishes again.",
                        null=True,
                    ),
                ),
                ("published_by_name", models.CharField(blank=True, max_length=200)),
                ("published_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "definition",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="versions", to="workflows.definition"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_definition_versions",
                "indexes": [models.Index(fields=["tenant", "trigger_event_name"], name="workflow_versions_by_trigger")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "definition", "version"), name="workflow_definition_versions_number"
                    )
                ],
            },
        ),
        migrations.AddField(
            model_name="definition",
            name="published_version",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="workflows.definitionversion",
            ),
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("event_id", models.CharField(max_length=200)),
                (
                    "occupies_id",
                    models.BooleanField(
                        default=True,
                        help_text="False if the event was rejected or conflicts. The row does not occupy its id.",
                    ),
                ),
                ("event_type", models.CharField(max_length=200)),
                ("payload", workflows.models.fields.OrderedJSONField(default=dict)),
                ("body_hash", models.CharField(max_length=64)),
                ("payload_schema_ref", models.CharField(blank=True, max_length=200)),
                (
                    "workflow_correlation_key",
                    models.CharField(blank=True, help_text="Key that the sender gave.", max_length=1000),
                ),
                (
                    "attributes",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Further attributes of a CloudEvents envelope, which the portal does not use.",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("rest", "REST API"),
                            ("celery", "Celery task"),
                            ("stream", "Redis stream"),
                            ("outbox", "Outbox"),
                            ("admin", "Admin"),
                            ("schedule", "Schedule"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "sender",
                    models.CharField(
                        blank=True, help_text="Name of the user, token or process that sent it.", max_length=200
                    ),
                ),
                (
                    "sender_type",
                    models.CharField(default="system", help_text="user, token or system.", max_length=20),
                ),
                ("sender_id", models.CharField(blank=True, max_length=64)),
                (
                    "sender_role",
                    models.CharField(blank=True, help_text="Role of a user or token at acceptance.", max_length=20),
                ),
                ("occurred_at", models.DateTimeField(blank=True, null=True)),
                ("received_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "correlation_status",
                    models.CharField(
                        choices=[("explicit", "Explicit"), ("derived", "Derived"), ("missing", "Missing")],
                        max_length=20,
                    ),
                ),
                ("correlation_reason", models.CharField(blank=True, max_length=500)),
                ("correlation_key", models.CharField(blank=True, max_length=1000)),
                ("correlation_key_folded", workflows.models.fields.FoldedField(source="correlation_key")),
                (
                    "correlation_key_reversed",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Reverse("correlation_key_folded"),
                        output_field=models.CharField(db_collation="C", max_length=200),
                    ),
                ),
                ("correlation_keys", models.JSONField(default=list)),
                (
                    "correlation_trace",
                    models.JSONField(default=list, help_text="Each path that was tried, with the key found there."),
                ),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("received", "Received"),
                            ("routing", "Routing"),
                            ("held", "On hold"),
                            ("delivered", "Delivered"),
                            ("partly_delivered", "Partly delivered"),
                            ("buffered", "Buffered"),
                            ("buffer_over", "Buffer time over"),
                            ("unmatched", "Unmatched"),
                            ("uncorrelated", "Uncorrelated"),
                            ("rejected", "Rejected"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ],
                        default="received",
                        max_length=20,
                    ),
                ),
                (
                    "outcome_code",
                    models.CharField(
                        choices=[
                            ("not_routed", "Not routed"),
                            ("routing_failed", "Routing failed"),
                            ("delivering", "Delivering"),
                            ("held", "On hold"),
                            ("matched", "Matched"),
                            ("started", "Started"),
                            ("partly_dead", "Partly dead"),
                            ("filtered", "Filtered"),
                            ("wait_closed", "Wait closed"),
                            ("not_started", "Not started"),
                            ("no_wait", "No wait"),
                            ("no_key", "No key"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                            ("payload_rejected", "Payload rejected"),
                            ("id_conflict", "Id conflict"),
                        ],
                        default="not_routed",
                        max_length=20,
                    ),
                ),
                (
                    "outcome_reason",
                    models.CharField(blank=True, help_text="Sentence of the code (event_decisions).", max_length=500),
                ),
                (
                    "decision_trace",
                    models.JSONField(default=dict, help_text="Result of routing: waits, near misses and triggers."),
                ),
                ("buffered_until", models.DateTimeField(blank=True, null=True)),
                (
                    "check_again_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time of the next check of a buffered event that can still be taken after its buffer time.",
                        null=True,
                    ),
                ),
                (
                    "can_be_taken_by",
                    models.JSONField(
                        blank=True,
                        help_text="Start or wait that can still take the event after its buffer time.",
                        null=True,
                    ),
                ),
                (
                    "route_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        help_text="Earliest time of the next routing attempt. An error moves it later.",
                    ),
                ),
                ("routed_at", models.DateTimeField(blank=True, null=True)),
                ("routing_attempts", models.PositiveIntegerField(default=0)),
                (
                    "conflict_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="conflicts",
                        to="workflows.event",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_runtime_events",
                "indexes": [
                    models.Index(
                        fields=["tenant", "-received_at"], include=["outcome"], name="workflow_events_newest"
                    ),
                    models.Index(fields=["tenant", "outcome", "-received_at"], name="workflow_events_by_outcome"),
                    models.Index(fields=["tenant", "event_type", "-received_at"], name="workflow_events_by_type"),
                    models.Index(
                        condition=models.Q(("routed_at__isnull", True)),
                        fields=["tenant", "route_at"],
                        name="workflow_events_unrouted",
                    ),
                    models.Index(
                        fields=["tenant", "correlation_key_folded"], name="workflow_events_by_folded_key"
                    ),
                    models.Index(
                        fields=["tenant", "correlation_key_reversed"], name="workflow_events_by_key_end"
                    ),
                    models.Index(
                        condition=models.Q(("occupies_id", False)),
                        fields=["tenant", "event_id"],
                        name="workflow_events_refused_ids",
                    ),
                    models.Index(
                        condition=models.Q(("outcome", "buffered")),
                        fields=["buffered_until"],
                        name="workflow_events_buffered",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("occupies_id", True)),
                        fields=("tenant", "event_id"),
                        name="workflow_runtime_events_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "projection_epoch",
                    models.CharField(blank=True, help_text="Temporal run id that wrote this row.", max_length=64),
                ),
                (
                    "projection_seq",
                    models.BigIntegerField(default=0, help_text="Sequence number of the record within the run."),
                ),
                ("projected_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("definition_key", models.CharField(max_length=200)),
                ("version", models.PositiveIntegerField()),
                ("definition_hash", models.CharField(max_length=64)),
                ("semantics_version", models.PositiveIntegerField()),
                (
                    "engine",
                    models.CharField(
                        choices=[("temporal", "Temporal"), ("db", "Legacy (read-only)")],
                        default="temporal",
                        max_length=20,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("STARTING", "Starting"),
                            ("RUNNING", "Running"),
                            ("WAITING", "Waiting"),
                            ("SUCCEEDED", "Succeeded"),
                            ("FAILED", "Failed"),
                            ("CANCELED", "Canceled"),
                            ("TERMINATED", "Terminated"),
                            ("TIMED_OUT", "Timed out"),
                        ],
                        default="STARTING",
                        max_length=20,
                    ),
                ),
                (
                    "state",
                    models.CharField(blank=True, help_text="State that the author sets (meta.state).", max_length=200),
                ),
                (
                    "trigger_type",
                    models.CharField(
                        choices=[
                            ("manual", "Manual"),
                            ("event", "Event"),
                            ("schedule", "Schedule"),
                            ("recurring", "Recurring"),
                            ("child", "Child"),
                            ("replay", "Replay"),
                        ],
                        default="manual",
                        max_length=20,
                    ),
                ),
                ("trigger_metadata", models.JSONField(blank=True, default=dict)),
                (
                    "correlation_key",
                    models.CharField(
                        blank=True, help_text="Correlation key of the event that started the run.", max_length=1000
                    ),
                ),
                ("correlation_key_folded", workflows.models.fields.FoldedField(source="correlation_key")),
                (
                    "correlation_key_reversed",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Reverse("correlation_key_folded"),
                        output_field=models.CharField(db_collation="C", max_length=200),
                    ),
                ),
                (
                    "concurrency_key",
                    models.CharField(
                        blank=True,
                        help_text="Only one run of the definition with this key may be open.",
                        max_length=1000,
                    ),
                ),
                (
                    "queued_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="The start waits for the end of a run with the same concurrency key. Time of the next check.",
                        null=True,
                    ),
                ),
                ("parent_step_path", models.CharField(blank=True, max_length=500)),
                ("temporal_workflow_id", models.CharField(max_length=255)),
                ("temporal_first_run_id", models.CharField(blank=True, max_length=64)),
                ("input", workflows.models.fields.OrderedJSONField(default=dict)),
                (
                    "output",
                    workflows.models.fields.OrderedJSONField(
                        blank=True, help_text="Scopes at the end of the run: payload, vars, meta.", null=True
                    ),
                ),
                ("current_step_path", models.CharField(blank=True, max_length=500)),
                ("error", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("error_category", models.CharField(blank=True, max_length=40)),
                ("error_code", models.CharField(blank=True, max_length=100)),
                (
                    "failed_step_path",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.fields.json.KT("error__nodePath"),
                        help_text="Step in which the error of the run occurred.",
                        output_field=models.TextField(null=True),
                    ),
                ),
                ("step_count", models.PositiveIntegerField(default=0)),
                ("failed_step_count", models.PositiveIntegerField(default=0)),
                (
                    "event_count",
                    models.PositiveIntegerField(
                        default=0, help_text="Number of events that resolved a wait of this run."
                    ),
                ),
                ("history_event_count", models.PositiveIntegerField(default=0)),
                ("history_bytes", models.PositiveBigIntegerField(default=0)),
                (
                    "projection_base_seq",
                    models.BigIntegerField(default=0, help_text="First sequence number that the current epoch wrote."),
                ),
                (
                    "counted_seq",
                    models.BigIntegerField(
                        default=0,
                        help_text="Highest sequence number whose steps are in the counters of the definition's map.",
                    ),
                ),
                ("drift_reason", models.CharField(blank=True, max_length=500)),
                ("drift_found_at", models.DateTimeField(blank=True, null=True)),
                (
                    "stuck_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time of the first failed attempt of the workflow task that cannot be done.",
                        null=True,
                    ),
                ),
                ("stuck_attempts", models.PositiveIntegerField(default=0)),
                ("stuck_cause", models.CharField(blank=True, max_length=500)),
                ("requested_by", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "took",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.expressions.CombinedExpression(
                            models.F("ended_at"), "-", django.db.models.functions.comparison.Coalesce("started_at", "created_at")
                        ),
                        help_text="Time from the start to the end.",
                        output_field=models.DurationField(null=True),
                    ),
                ),
                (
                    "definition",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="workflows.definition"
                    ),
                ),
                (
                    "definition_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="workflows.definitionversion",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="started_runs",
                        to="workflows.event",
                    ),
                ),
                (
                    "parent_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="children",
                        to="workflows.run",
                    ),
                ),
                (
                    "replay_of",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replays",
                        to="workflows.run",
                    ),
                ),
                (
                    "root_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="descendants",
                        to="workflows.run",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_runs",
                "indexes": [
                    models.Index(fields=["tenant", "-created_at"], name="workflow_runs_newest"),
                    models.Index(fields=["tenant", "status", "-created_at"], name="workflow_runs_by_status"),
                    models.Index(fields=["tenant", "definition", "status"], name="workflow_runs_by_definition"),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", False)),
                        fields=["tenant", "definition", "-ended_at"],
                        include=["status", "started_at", "replay_of"],
                        name="workflow_runs_last_ended",
                    ),
                    models.Index(fields=["tenant", "correlation_key_folded", "id"], name="workflow_runs_by_folded_key"),
                    models.Index(fields=["tenant", "correlation_key_reversed"], name="workflow_runs_by_key_end"),
                    models.Index(fields=["tenant", "definition_key", "-created_at"], name="workflow_runs_by_def_key"),
                    models.Index(
                        fields=["tenant", "definition_key", "version", "-created_at"],
                        name="workflow_runs_by_def_version",
                    ),
                    models.Index(fields=["tenant", "trigger_type", "-created_at"], name="workflow_runs_by_trigger"),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", False)),
                        fields=["tenant", "took", "id"],
                        name="workflow_runs_by_took",
                    ),
                    models.Index(
                        condition=models.Q(("replay_of__isnull", False)),
                        fields=["tenant", "-created_at"],
                        name="workflow_runs_replays",
                    ),
                    models.Index(
                        fields=["tenant", "definition_key", "status", "-created_at"],
                        name="workflow_runs_by_def_status",
                    ),
                    models.Index(
                        condition=models.Q(("state", ""), _negated=True),
                        fields=["tenant", "state", "-created_at"],
                        name="workflow_runs_by_state",
                    ),
                    models.Index(
                        condition=models.Q(("error_code", ""), _negated=True),
                        fields=["tenant", "error_code", "-created_at"],
                        name="workflow_runs_by_error_code",
                    ),
                    models.Index(
                        condition=models.Q(("failed_step_path__isnull", False)),
                        fields=["tenant", "failed_step_path", "-created_at"],
                        name="workflow_runs_by_failed_step",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["STARTING", "RUNNING", "WAITING"])),
                        fields=["tenant", "current_step_path", "-created_at"],
                        name="workflow_runs_by_current_step",
                    ),
                    models.Index(
                        condition=models.Q(("ended_at__isnull", False)),
                        fields=["tenant", "-ended_at"],
                        include=["status", "replay_of"],
                        name="workflow_runs_ended",
                    ),
                    models.Index(
                        condition=models.Q(("correlation_key", ""), _negated=True),
                        fields=["tenant", "correlation_key"],
                        name="workflow_runs_by_key",
                    ),
                    models.Index(
                        condition=models.Q(("error_category", ""), _negated=True),
                        fields=["tenant", "error_category", "-created_at"],
                        name="workflow_runs_by_error",
                    ),
                    models.Index(
                        condition=models.Q(("concurrency_key", ""), _negated=True),
                        fields=["tenant", "definition", "concurrency_key", "status"],
                        name="workflow_runs_by_run_key",
                    ),
                    models.Index(
                        condition=models.Q(("queued_until__isnull", False)),
                        fields=["tenant", "queued_until"],
                        name="workflow_runs_queued",
                    ),
                    models.Index(
                        condition=models.Q(("status", "STARTING")), fields=["created_at"], name="workflow_runs_starting"
                    ),
                    models.Index(
                        condition=models.Q(
                            ("counted_seq__lt", models.F("projection_seq")),
                            models.Q(("counted_seq__lt", 9223372036854775807), ("ended_at__isnull", False)),
                            _connector="OR",
                        ),
                        fields=["tenant", "projected_at"],
                        name="workflow_runs_uncounted",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("drift_found_at__isnull", True),
                            ("engine", "temporal"),
                            ("status__in", ["STARTING", "RUNNING", "WAITING"]),
                        ),
                        fields=["tenant", "projected_at"],
                        include=("id", "queued_until"),
                        name="workflow_runs_walk",
                    ),
                    models.Index(
                        condition=models.Q(
                            ("drift_found_at__isnull", False),
                            ("engine", "temporal"),
                            ("status__in", ["STARTING", "RUNNING", "WAITING"]),
                        ),
                        fields=["tenant", "projected_at"],
                        include=("id", "queued_until"),
                        name="workflow_runs_drifted",
                    ),
                    models.Index(
                        condition=models.Q(("engine", "temporal"), ("status__in", ["FAILED", "TIMED_OUT"])),
                        fields=["tenant", "projected_at"],
                        include=("id", "ended_at"),
                        name="workflow_runs_failed",
                    ),
                    models.Index(
                        condition=models.Q(("stuck_since__isnull", False)),
                        fields=["tenant", "stuck_since"],
                        name="workflow_runs_stuck",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "temporal_workflow_id"), name="workflow_runs_workflow_id")
                ],
            },
        ),
        migrations.AddField(
            model_name="command",
            name="run",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="commands",
                to="workflows.run",
            ),
        ),
        migrations.AddIndex(
            model_name="command",
            index=models.Index(
                condition=models.Q(("run__isnull", False)),
                fields=["tenant", "run", "-requested_at"],
                name="workflow_commands_of_run",
            ),
        ),
        migrations.CreateModel(
            name="RunWait",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "projection_epoch",
                    models.CharField(blank=True, help_text="Temporal run id that wrote this row.", max_length=64),
                ),
                (
                    "projection_seq",
                    models.BigIntegerField(default=0, help_text="Sequence number of the record within the run."),
                ),
                ("projected_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("step_path", models.CharField(max_length=500)),
                ("iteration", models.CharField(blank=True, max_length=200)),
                ("step_id", models.CharField(max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("event", "Event"),
                            ("time", "Time"),
                            ("human", "Human"),
                            ("retry", "Retry"),
                            ("quota", "Quota"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("WAITING", "Waiting"),
                            ("RESOLVED", "Resolved"),
                            ("TIMED_OUT", "Timed out"),
                            ("CANCELED", "Canceled"),
                        ],
                        max_length=20,
                    ),
                ),
                ("event_name", models.CharField(blank=True, max_length=200)),
                ("correlation_key", models.CharField(blank=True, max_length=1000)),
                ("filters", models.JSONField(blank=True, default=list)),
                (
                    "opened_seq",
                    models.BigIntegerField(default=0, help_text="Sequence number of the record that opened the wait."),
                ),
                ("opened_at", models.DateTimeField()),
                (
                    "ready_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Logical time at which the run became able to reach this wait. The lookback counts from it.",
                        null=True,
                    ),
                ),
                ("deadline_at", models.DateTimeField(blank=True, null=True)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "event",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="resolved_waits",
                        to="workflows.event",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="waits", to="workflows.run"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_run_waits",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "WAITING")),
                        fields=["tenant", "event_name", "correlation_key"],
                        name="workflow_run_waits_open",
                    ),
                    models.Index(fields=["tenant", "run", "opened_at"], name="workflow_run_waits_of_run"),
                    models.Index(
                        condition=models.Q(("kind", "retry"), ("status", "WAITING")),
                        fields=["tenant", "run"],
                        name="workflow_run_waits_retrying",
                    ),
                    models.Index(
                        condition=models.Q(("status", "WAITING")),
                        fields=["tenant", "event_name", "-opened_at"],
                        name="workflow_run_waits_by_name",
                    ),
                    models.Index(fields=["tenant", "correlation_key", "-opened_at"], name="workflow_run_waits_by_key"),
                    models.Index(
                        condition=models.Q(("deadline_at__isnull", False), ("status", "WAITING")),
                        fields=["tenant", "deadline_at"],
                        name="workflow_run_waits_due",
                    ),
                    models.Index(
                        condition=models.Q(("deadline_at__isnull", False), ("status", "WAITING")),
                        fields=["tenant", "kind", "deadline_at", "id"],
                        name="workflow_waits_due_by_kind",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunStep",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "projection_epoch",
                    models.CharField(blank=True, help_text="Temporal run id that wrote this row.", max_length=64),
                ),
                (
                    "projection_seq",
                    models.BigIntegerField(default=0, help_text="Sequence number of the record within the run."),
                ),
                ("projected_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("step_path", models.CharField(max_length=500)),
                (
                    "iteration",
                    models.CharField(
                        blank=True,
                        help_text="Indexes of the loops, outermost first, separated by dots.",
                        max_length=200,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=1)),
                ("step_id", models.CharField(max_length=200)),
                ("step_type", models.CharField(max_length=40)),
                ("name", models.CharField(blank=True, max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("STARTED", "Started"),
                            ("SUCCEEDED", "Succeeded"),
                            ("FAILED", "Failed"),
                            ("RETRY_SCHEDULED", "Retry scheduled"),
                            ("CANCELED", "Canceled"),
                            ("SKIPPED", "Skipped"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "branch",
                    models.CharField(blank=True, help_text="The branch that a control step chose.", max_length=20),
                ),
                ("action_id", models.CharField(blank=True, max_length=200)),
                ("action_version", models.PositiveIntegerField(blank=True, null=True)),
                ("input", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("output", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("error", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("next_attempt_at", models.DateTimeField(blank=True, null=True)),
                (
                    "child_run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.run",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="steps", to="workflows.run"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_run_steps",
                "indexes": [
                    models.Index(fields=["tenant", "run", "projection_seq"], name="workflow_run_steps_in_order")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "run", "step_path", "iteration", "attempt"),
                        name="workflow_run_steps_one_attempt",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RunLog",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("projection_epoch", models.CharField(blank=True, max_length=64)),
                ("projection_seq", models.BigIntegerField(default=0)),
                ("at", models.DateTimeField()),
                (
                    "level",
                    models.CharField(
                        choices=[("debug", "Debug"), ("info", "Info"), ("warning", "Warning"), ("error", "Error")],
                        default="info",
                        max_length=10,
                    ),
                ),
                ("step_path", models.CharField(blank=True, max_length=500)),
                ("iteration", models.CharField(blank=True, max_length=200)),
                ("message", models.TextField()),
                ("error", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="logs", to="workflows.run"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_run_logs",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "run", "projection_epoch", "projection_seq"), name="workflow_run_logs_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PayloadSchema",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("ref", models.CharField(max_length=200)),
                ("title", models.CharField(blank=True, max_length=200)),
                ("schema", models.JSONField()),
                ("is_placeholder", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_schemas",
                "constraints": [models.UniqueConstraint(fields=("tenant", "ref"), name="workflow_schemas_ref")],
            },
        ),
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "envelope",
                    workflows.models.fields.OrderedJSONField(
                        help_text="Envelope in the format of the REST entry point, with a new event id."
                    ),
                ),
                ("sender", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "refused_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time at which the intake refused the event permanently. See the reason.",
                        null=True,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_event_outbox",
                "indexes": [
                    models.Index(
                        condition=models.Q(("refused_at__isnull", True)),
                        fields=["tenant", "next_attempt_at"],
                        name="workflow_event_outbox_due",
                    ),
                    models.Index(
                        condition=models.Q(("refused_at__isnull", False)),
                        fields=["tenant", "-refused_at"],
                        name="workflow_event_outbox_refused",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("idempotency_key", models.CharField(max_length=1000)),
                ("severity", models.CharField(default="info", max_length=20)),
                ("title", models.CharField(max_length=300)),
                ("body", models.TextField(blank=True)),
                ("link", models.CharField(blank=True, max_length=1000)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="notifications",
                        to="workflows.run",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "my notifications",
                "db_table": "workflow_notifications",
                "indexes": [
                    models.Index(fields=["tenant", "user", "-created_at"], name="workflow_notifications_inbox"),
                    models.Index(fields=["tenant", "created_at"], name="workflow_notifications_by_age"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "idempotency_key", "user"), name="workflow_notifications_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="HumanTask",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("step_path", models.CharField(max_length=500)),
                ("iteration", models.CharField(blank=True, max_length=200)),
                ("step_id", models.CharField(blank=True, max_length=200)),
                ("task_type", models.CharField(max_length=200)),
                ("title", models.CharField(max_length=500)),
                ("description", models.TextField(blank=True)),
                ("context_data", workflows.models.fields.OrderedJSONField(blank=True, default=dict)),
                ("form_schema", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("assigned_users", models.JSONField(blank=True, default=list)),
                ("assigned_roles", models.JSONField(blank=True, default=list)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("claimed", "Claimed"),
                            ("completing", "Completing"),
                            ("completed", "Completed"),
                            ("canceled", "Canceled"),
                            ("expired", "Expired"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                ("complete_on_event", models.CharField(blank=True, max_length=200)),
                (
                    "allow_system_completion",
                    models.BooleanField(
                        default=True, help_text="False if events of the system actor may not complete the task."
                    ),
                ),
                ("correlation_key", models.CharField(blank=True, max_length=1000)),
                ("claimed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "completing_at",
                    models.DateTimeField(
                        blank=True, help_text="Time at which the response was sent to Temporal.", null=True
                    ),
                ),
                ("due_at", models.DateTimeField(blank=True, null=True)),
                ("completed_by_name", models.CharField(blank=True, max_length=200)),
                ("completed_at", models.DateTimeField(blank=True, null=True)),
                ("response", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "claimed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="tasks", to="workflows.run"
                    ),
                ),
                (
                    "wait",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="tasks",
                        to="workflows.runwait",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_tasks",
                "indexes": [
                    models.Index(fields=["tenant", "status", "due_at"], name="workflow_tasks_inbox"),
                    models.Index(fields=["tenant", "run"], name="workflow_tasks_of_run"),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "claimed", "completing"])),
                        fields=["tenant", "due_at", "id"],
                        name="workflow_tasks_by_due",
                    ),
                    models.Index(
                        condition=models.Q(("status__in", ["pending", "claimed", "completing"])),
                        fields=["tenant", "claimed_by", "due_at", "id"],
                        name="workflow_tasks_by_claim",
                    ),
                    models.Index(fields=["tenant", "-created_at"], name="workflow_tasks_newest"),
                    models.Index(
                        condition=models.Q(
                            ("status__in", ["pending", "claimed", "completing"]),
                            ("task_type", "action.decide_outcome"),
                        ),
                        fields=["tenant"],
                        name="workflow_tasks_decisions",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="TaskDraft",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "typed",
                    models.JSONField(default=dict, help_text="Lists of texts by the name of the field in the form."),
                ),
                ("saved_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "task",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="drafts", to="workflows.humantask"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "workflow_task_drafts",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "task", "user"), name="workflow_task_drafts_one_of_member"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EventType",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True)),
                (
                    "correlation_paths",
                    models.JSONField(blank=True, help_text="Dotted paths into the payload, in order.", null=True),
                ),
                (
                    "identity_paths",
                    models.JSONField(
                        blank=True,
                        help_text="Dotted paths into the payload. Only they make up an event's identity.",
                        null=True,
                    ),
                ),
                (
                    "identity_excluded_paths",
                    models.JSONField(
                        blank=True,
                        help_text="Dotted paths into the payload that are not part of an event's identity.",
                        null=True,
                    ),
                ),
                ("payload_schema_ref", models.CharField(blank=True, max_length=200)),
                ("buffer_seconds", models.FloatField(blank=True, null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "event catalogue",
                "db_table": "workflow_event_types",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "name"), name="workflow_event_types_name"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("buffer_seconds__isnull", True), ("buffer_seconds__gt", 0), _connector="OR"
                        ),
                        name="workflow_event_types_buffer_not_zero",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EventKey",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("event_type", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=1000)),
                ("position", models.PositiveSmallIntegerField(default=0)),
                ("received_at", models.DateTimeField()),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="keys", to="workflows.event"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_event_keys",
                "indexes": [
                    models.Index(
                        fields=["tenant", "event_type", "key", "received_at"], name="workflow_event_keys_lookup"
                    ),
                    models.Index(fields=["tenant", "key"], name="workflow_event_keys_by_key"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "event", "key"), name="workflow_event_keys_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="EventDelivery",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("kind", models.CharField(choices=[("wait", "Wait"), ("trigger", "Trigger")], max_length=20)),
                ("correlation_key", models.CharField(blank=True, max_length=1000)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("sent", "Sent"),
                            ("matched", "Matched"),
                            ("filtered", "Filtered"),
                            ("late", "Late"),
                            ("started", "Started"),
                            ("skipped", "Skipped"),
                            ("dead", "Dead"),
                            ("discarded", "Discarded"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "mismatch",
                    models.JSONField(
                        blank=True,
                        help_text="Filter that did not hold: code, path, op, value. Shown instead of the reason.",
                        null=True,
                    ),
                ),
                (
                    "concurrency_key",
                    models.CharField(
                        blank=True, help_text="Concurrency key of the run that this delivery starts.", max_length=1000
                    ),
                ),
                (
                    "held_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time since which the start waits for a slot under the concurrency limit.",
                        null=True,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "failures",
                    models.PositiveIntegerField(
                        default=0, help_text="Number of attempts that count towards the attempt limit."
                    ),
                ),
                (
                    "attempt_log",
                    models.JSONField(default=list, help_text="Newest attempts, each with its time, outcome and error."),
                ),
                ("next_attempt_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "definition",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="workflows.definition",
                    ),
                ),
                (
                    "definition_version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.definitionversion",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="deliveries", to="workflows.event"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="workflows.run",
                    ),
                ),
                (
                    "wait",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deliveries",
                        to="workflows.runwait",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_event_deliveries",
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "pending")),
                        fields=["tenant", "next_attempt_at"],
                        name="workflow_deliveries_due",
                    ),
                    models.Index(
                        condition=models.Q(("claimed_until__isnull", False)),
                        fields=["tenant", "claimed_until"],
                        name="workflow_deliveries_claimed",
                    ),
                    models.Index(
                        condition=models.Q(("held_since__isnull", False)),
                        fields=["tenant", "definition", "held_since"],
                        name="workflow_deliveries_held",
                    ),
                    models.Index(fields=["tenant", "status", "-created_at"], name="workflow_deliveries_by_status"),
                    models.Index(
                        condition=models.Q(("run__isnull", False)),
                        fields=["tenant", "run"],
                        name="workflow_deliveries_of_run",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("wait__isnull", False)),
                        fields=("tenant", "event", "wait"),
                        name="workflow_deliveries_once_per_wait",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("kind", "trigger")),
                        fields=("tenant", "event", "definition"),
                        name="workflow_deliveries_once_per_trigger",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Connector",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "action_id",
                    models.CharField(
                        max_length=200,
                        validators=[
                            django.core.validators.RegexValidator("^[A-Za-z][A-Za-z0-9_-]*(\\.[A-Za-z0-9_-]+)*$")
                        ],
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("label", models.CharField(max_length=200)),
                ("spec", workflows.models.fields.OrderedJSONField(default=dict)),
                ("created_by_name", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_connectors",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "action_id", "version"), name="workflow_connectors_version"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DataStoreEntry",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("namespace", models.CharField(default="default", max_length=200)),
                ("key", models.CharField(max_length=500)),
                ("value", workflows.models.fields.OrderedJSONField(null=True)),
                ("row_version", models.PositiveBigIntegerField(default=1)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_data_store",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "namespace", "key"), name="workflow_data_store_key")
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("expires_at__isnull", False)),
                        fields=["tenant", "expires_at"],
                        name="workflow_data_store_expiry",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CommandEntry",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("seq", models.BigIntegerField(help_text="Position in the tenant's chain, from 1, without gaps.")),
                ("content", models.TextField()),
                ("hash", models.CharField(max_length=64)),
                ("written_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "command",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="entries", to="workflows.command"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_command_entries",
                "constraints": [models.UniqueConstraint(fields=("tenant", "seq"), name="workflow_command_entries_seq")],
            },
        ),
        migrations.CreateModel(
            name="BulkItem",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("position", models.PositiveIntegerField()),
                ("target_id", models.UUIDField()),
                ("target_label", models.CharField(blank=True, max_length=200)),
                (
                    "status_then",
                    models.CharField(
                        blank=True, help_text="Status of the run when the selection was frozen.", max_length=20
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Not requested yet"),
                            ("accepted", "Requested"),
                            ("refused", "Refused"),
                            ("failed", "Request failed"),
                            ("unknown", "Unknown"),
                            ("ineligible", "Left out"),
                            ("stopped", "Not requested"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                (
                    "repeats_effects",
                    models.BooleanField(
                        default=False, help_text="A replay repeats the effect of an action that is not idempotent."
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=100)),
                ("message", models.TextField(blank=True)),
                (
                    "new_run_id",
                    models.UUIDField(
                        blank=True,
                        help_text="Id of the run that a replay starts. The run exists only if it was started.",
                        null=True,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("claimed_until", models.DateTimeField(blank=True, null=True)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="items", to="workflows.bulkjob"
                    ),
                ),
                (
                    "command",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.command",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_bulk_items",
                "indexes": [
                    models.Index(fields=["tenant", "job", "state", "position"], name="workflow_bulk_items_by_state"),
                    models.Index(fields=["tenant", "job", "position"], name="workflow_bulk_items_in_order"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "job", "target_id"), name="workflow_bulk_items_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="ApiToken",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "Viewer"),
                            ("operator", "Operator"),
                            ("author", "Author"),
                            ("admin", "Admin"),
                        ],
                        default="operator",
                        max_length=20,
                    ),
                ),
                (
                    "scopes",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Permitted scopes. An empty list permits all actions of the role.",
                    ),
                ),
                ("prefix", models.CharField(editable=False, max_length=16)),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("rate_limit_per_minute", models.PositiveIntegerField(blank=True, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "rotated_at",
                    models.DateTimeField(blank=True, help_text="Time at which another token replaced it.", null=True),
                ),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "api_tokens",
                "indexes": [models.Index(fields=["tenant", "name"], name="api_tokens_by_name")],
            },
        ),
        migrations.CreateModel(
            name="ActionInvocation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("step_path", models.CharField(blank=True, max_length=500)),
                ("iteration", models.CharField(blank=True, max_length=200)),
                ("action_id", models.CharField(max_length=200)),
                ("action_version", models.PositiveIntegerField()),
                ("idempotency_key", models.CharField(max_length=1000)),
                (
                    "status",
                    models.CharField(
                        choices=[("STARTED", "Started"), ("SUCCEEDED", "Succeeded"), ("FAILED", "Failed")],
                        default="STARTED",
                        max_length=20,
                    ),
                ),
                (
                    "executions",
                    models.PositiveIntegerField(
                        default=1, help_text="Number of times that the action's code was started."
                    ),
                ),
                ("input", workflows.models.fields.OrderedJSONField(default=dict)),
                ("output", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                ("error", workflows.models.fields.OrderedJSONField(blank=True, null=True)),
                (
                    "owner",
                    models.CharField(blank=True, help_text="Activity execution that holds the lease.", max_length=300),
                ),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="invocations",
                        to="workflows.run",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_action_invocations",
                "indexes": [models.Index(fields=["tenant", "run", "started_at"], name="workflow_invocations_of_run")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "action_id", "action_version", "idempotency_key"),
                        name="workflow_action_invocations_key",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "Viewer"),
                            ("operator", "Operator"),
                            ("author", "Author"),
                            ("admin", "Admin"),
                        ],
                        max_length=20,
                    ),
                ),
                ("code_hash", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_by_name",
                    models.CharField(help_text="Person or token that sent the last e-mail.", max_length=200),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "sent_at",
                    models.DateTimeField(default=django.utils.timezone.now, help_text="Time of the last e-mail."),
                ),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_by_name", models.CharField(blank=True, max_length=150)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tried_names",
                    models.PositiveSmallIntegerField(
                        default=0, help_text="Account names tried since the last e-mail."
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "tenant_invitations",
                "indexes": [models.Index(fields=["tenant", "-created_at", "-id"], name="tenant_invitations_newest")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("accepted_at__isnull", True), ("revoked_at__isnull", True)),
                        fields=("tenant", "email"),
                        name="tenant_invitations_one_open",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TenantMembership",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("viewer", "Viewer"),
                            ("operator", "Operator"),
                            ("author", "Author"),
                            ("admin", "Admin"),
                        ],
                        default="viewer",
                        max_length=20,
                    ),
                ),
                (
                    "may_see_payloads",
                    models.BooleanField(
                        default=False, help_text="Permission of a viewer to see the payloads of actions."
                    ),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="memberships", to="workflows.tenant"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "tenant_memberships",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "user"), name="tenant_memberships_one_per_user")
                ],
            },
        ),
        migrations.CreateModel(
            name="SignInRecord",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("signed_in", "Signed in"),
                            ("failed", "Sign-in failed"),
                            ("locked_out", "Locked out"),
                            ("refused", "Sign-in refused"),
                            ("signed_out", "Signed out"),
                            ("session_ended", "Session ended"),
                            ("session_expired", "Session expired"),
                            ("password_changed", "Password changed"),
                            ("reset_requested", "Password reset requested"),
                            ("password_reset", "Password reset"),
                            ("factor_added", "Second factor added"),
                            ("factor_removed", "Second factor removed"),
                            ("factor_failed", "Second factor failed"),
                            ("factors_reset", "Second factors reset"),
                            ("reset_refused", "Reset of second factors refused"),
                            ("codes_created", "Recovery codes created"),
                            ("account_created", "Account created"),
                            ("name_changed", "User name changed"),
                            ("address_changed", "E-mail address changed"),
                            ("account_deactivated", "Account deactivated"),
                            ("account_activated", "Account activated"),
                            ("superuser_granted", "Rights of a superuser given"),
                            ("superuser_revoked", "Rights of a superuser taken"),
                        ],
                        max_length=30,
                    ),
                ),
                (
                    "method",
                    models.CharField(blank=True, choices=[("", "No method"), ("password", "Password"), ("totp", "Authenticator app"), ("webauthn", "Passkey"), ("recovery_codes", "Recovery code"), ("oidc", "Identity provider")], max_length=20),
                ),
                ("account_id", models.BigIntegerField(blank=True, null=True)),
                ("account_name", models.CharField(blank=True, max_length=150)),
                ("unknown_mark", models.CharField(blank=True, max_length=8)),
                (
                    "by_name",
                    models.CharField(
                        blank=True, help_text="Person who changed the account of another one.", max_length=150
                    ),
                ),
                ("detail", models.CharField(blank=True, max_length=300)),
                ("address", models.GenericIPAddressField(blank=True, null=True)),
                ("user_agent", models.CharField(blank=True, max_length=200)),
                (
                    "tenant",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "sign-ins",
                "db_table": "sign_in_records",
                "indexes": [
                    models.Index(fields=["tenant", "-id"], name="sign_in_records_newest"),
                    models.Index(fields=["tenant", "account_name", "-id"], name="sign_in_records_by_account"),
                ],
            },
        ),
        migrations.CreateModel(
            name="IdentityProvider",
            fields=[
                ('id', models.UUIDField(default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(help_text='Short name. It is part of the address in the API.', max_length=63)),
                ('sign_in_name', models.CharField(help_text='Slug of the tenant. People type it to find the provider.', max_length=63)),
                ('issuer', models.CharField(max_length=500)),
                ('client_id', models.CharField(max_length=191)),
                ('secret_name', models.CharField(help_text='Name of the secret with the client secret.', max_length=200)),
                ('group_claim', models.CharField(default='groups', max_length=100)),
                ('extra_scopes', models.JSONField(blank=True, default=list, help_text='Scopes that the portal requests besides openid, profile and email.')),
                ('roles', models.JSONField(default=dict, help_text='Role of each group.')),
                ('is_active', models.BooleanField(default=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('tenant', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='workflows.tenant')),
            ],
            options={
                'db_table': 'tenant_identity_providers',
                'indexes': [models.Index(fields=['sign_in_name'], name='tenant_identity_providers_slug')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'name'), name='tenant_identity_providers_name'), models.UniqueConstraint(fields=('tenant', 'issuer'), name='tenant_identity_providers_issuer')],
            },
        ),
        migrations.CreateModel(
            name="Secret",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        max_length=200, validators=[django.core.validators.RegexValidator("^[A-Z][A-Z0-9_]*$")]
                    ),
                ),
                ("ciphertext", models.BinaryField()),
                ("key_id", models.CharField(max_length=64)),
                ("description", models.TextField(blank=True)),
                ("created_by_name", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("rotated_at", models.DateTimeField(blank=True, null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_secrets",
                "constraints": [models.UniqueConstraint(fields=("tenant", "name"), name="workflow_secrets_name")],
            },
        ),
        migrations.CreateModel(
            name="HolidayCalendar",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "weekend",
                    models.JSONField(
                        default=workflows.models.schedules.default_weekend,
                        help_text="Days of the weekend, 1 (Monday) to 7 (Sunday).",
                    ),
                ),
                (
                    "holidays",
                    models.JSONField(default=dict, help_text="Names of the holidays by date, `{YYYY-MM-DD: name}`."),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_holiday_calendars",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "name"), name="workflow_holiday_calendars_name")
                ],
            },
        ),
        migrations.CreateModel(
            name="RunValue",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("path", models.CharField(max_length=200)),
                ("shown", models.CharField(help_text="Beginning of the value as text.", max_length=200)),
                (
                    "text",
                    models.CharField(
                        blank=True,
                        db_collation="C",
                        help_text="Beginning of the value, without letter case.",
                        max_length=200,
                    ),
                ),
                ("number", models.FloatField(blank=True, null=True)),
                ("moment", models.DateTimeField(blank=True, null=True)),
                (
                    "definition",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.definition",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="values",
                        to="workflows.run",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_run_values",
                "indexes": [
                    models.Index(fields=["tenant", "definition", "path", "text"], name="workflow_run_values_by_text"),
                    models.Index(
                        condition=models.Q(("number__isnull", False)),
                        fields=["tenant", "definition", "path", "number"],
                        name="workflow_run_values_by_number",
                    ),
                    models.Index(
                        condition=models.Q(("moment__isnull", False)),
                        fields=["tenant", "definition", "path", "moment"],
                        name="workflow_run_values_by_moment",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "run", "path"), name="workflow_run_values_one_per_path"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "user_name",
                    models.CharField(help_text="Name of the owner when the view was saved.", max_length=200),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "query",
                    models.CharField(blank=True, help_text="Query string of the run list.", max_length=4000),
                ),
                ("is_shared", models.BooleanField(default=False)),
                ("saved_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "db_table": "workflow_saved_views",
                "indexes": [
                    models.Index(fields=["tenant", "is_shared", "name"], name="workflow_saved_views_shared")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "user", "name"), name="workflow_saved_views_one_per_name"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "origin",
                    models.CharField(
                        choices=[("trigger", "Trigger of the definition"), ("portal", "Added in the portal")],
                        max_length=20,
                    ),
                ),
                ("temporal_schedule_id", models.CharField(max_length=300)),
                ("kind", models.CharField(choices=[("schedule", "Once"), ("recurring", "Recurring")], max_length=20)),
                ("run_at", models.DateTimeField(blank=True, null=True)),
                ("cron", models.CharField(blank=True, max_length=200)),
                ("time_zone", models.CharField(default="UTC", max_length=64)),
                (
                    "payload",
                    workflows.models.fields.OrderedJSONField(
                        default=dict, help_text="Payload of the runs. Its expressions see `schedule`."
                    ),
                ),
                (
                    "overlap",
                    models.CharField(
                        choices=[
                            ("allow_all", "Start it beside the earlier run"),
                            ("skip", "Skip it"),
                            ("buffer_one", "Start it after the earlier run; skip it if another one waits already"),
                            ("buffer_all", "Start it after the earlier runs, one after the other"),
                        ],
                        default="allow_all",
                        max_length=20,
                    ),
                ),
                (
                    "catch_up_seconds",
                    models.PositiveIntegerField(
                        default=3600, help_text="After an outage of Temporal, occurrences up to this age are started."
                    ),
                ),
                ("only_business_days", models.BooleanField(default=False)),
                ("is_paused", models.BooleanField(default=False)),
                ("paused_reason", models.CharField(blank=True, max_length=500)),
                (
                    "removed_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time at which the schedule was deleted. Its occurrences are kept.",
                        null=True,
                    ),
                ),
                (
                    "synced_hash",
                    models.CharField(
                        blank=True, help_text="Hash of the state that Temporal was last seen to have.", max_length=64
                    ),
                ),
                (
                    "sync_error",
                    models.JSONField(blank=True, help_text="Why Temporal does not have the schedule yet.", null=True),
                ),
                (
                    "drift",
                    models.JSONField(
                        blank=True,
                        help_text="Last change made directly in Temporal, which the reconciler has reversed.",
                        null=True,
                    ),
                ),
                (
                    "missed_catch_up",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Occurrences that Temporal did not start because they were too old after an outage.",
                    ),
                ),
                ("next_run_at", models.DateTimeField(blank=True, null=True)),
                ("last_run_at", models.DateTimeField(blank=True, null=True)),
                ("last_synced_at", models.DateTimeField(blank=True, null=True)),
                (
                    "last_error",
                    models.JSONField(blank=True, help_text="Why the last occurrence started no run.", null=True),
                ),
                ("created_by_name", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "calendar",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="workflows.holidaycalendar",
                    ),
                ),
                (
                    "definition",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="schedules", to="workflows.definition"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_schedules",
                "indexes": [
                    models.Index(fields=["last_synced_at"], name="workflow_schedules_by_sync"),
                    models.Index(
                        condition=models.Q(
                            ("is_paused", False), ("next_run_at__isnull", False), ("removed_at__isnull", True)
                        ),
                        fields=["tenant", "next_run_at", "id"],
                        name="workflow_schedules_next",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "temporal_schedule_id"), name="workflow_schedules_id"),
                    models.UniqueConstraint(
                        condition=models.Q(("removed_at__isnull", True)),
                        fields=("tenant", "definition", "name"),
                        name="workflow_schedules_name",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScheduleOccurrence",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("scheduled_at", models.DateTimeField()),
                (
                    "fired_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, help_text="Time at which the portal recorded the occurrence."
                    ),
                ),
                (
                    "cause",
                    models.CharField(
                        choices=[
                            ("scheduled", "Scheduled"),
                            ("triggered", "Triggered by hand"),
                            ("backfill", "Backfill"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "overlap",
                    models.CharField(
                        choices=[
                            ("allow_all", "Start it beside the earlier run"),
                            ("skip", "Skip it"),
                            ("buffer_one", "Start it after the earlier run; skip it if another one waits already"),
                            ("buffer_all", "Start it after the earlier runs, one after the other"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("accepted", "Accepted"), ("skipped", "Skipped"), ("failed", "Failed")], max_length=20
                    ),
                ),
                ("code", models.CharField(blank=True, max_length=100)),
                ("reason", models.CharField(blank=True, max_length=500)),
                ("requested_by", models.CharField(blank=True, max_length=200)),
                (
                    "event",
                    models.ForeignKey(
                        blank=True,
                        help_text="Stored event that starts the run. None if the occurrence starts no run.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="occurrences",
                        to="workflows.event",
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="occurrences", to="workflows.schedule"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_schedule_occurrences",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "schedule", "scheduled_at"), name="workflow_schedule_occurrences_once"
                    ),
                    models.UniqueConstraint(fields=("tenant", "event"), name="workflow_schedule_occurrences_event"),
                ],
            },
        ),
        migrations.CreateModel(
            name="StepCount",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "hour",
                    models.DateTimeField(help_text="Beginning of the hour in which the runs were created."),
                ),
                ("step_path", models.CharField(blank=True, max_length=500)),
                ("measure", models.CharField(max_length=40)),
                ("count", models.BigIntegerField()),
                (
                    "definition_version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="step_counts",
                        to="workflows.definitionversion",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_step_counts",
                "indexes": [models.Index(fields=["tenant", "hour"], name="workflow_step_counts_by_hour")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "definition_version", "hour", "step_path", "measure"),
                        name="workflow_step_counts_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Incident",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "number",
                    models.PositiveIntegerField(help_text="Number within the tenant. Screens show it as INC-<number>."),
                ),
                (
                    "fingerprint",
                    models.CharField(help_text="Hash of the values that later failures must have.", max_length=64),
                ),
                ("step_id", models.CharField(blank=True, max_length=200)),
                ("step_name", models.CharField(blank=True, max_length=200)),
                (
                    "step_path",
                    models.CharField(
                        blank=True, help_text="Path of the step in the newest failed version.", max_length=500
                    ),
                ),
                ("error_category", models.CharField(blank=True, max_length=40)),
                ("error_code", models.CharField(blank=True, max_length=100)),
                ("message", models.TextField(blank=True, help_text="Normalised message.")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("new", "New"),
                            ("open", "Open"),
                            ("snoozed", "Snoozed"),
                            ("resolved", "Resolved"),
                            ("regressed", "Regressed"),
                            ("closed", "Closed"),
                        ],
                        default="new",
                        max_length=20,
                    ),
                ),
                ("state_since", models.DateTimeField(default=django.utils.timezone.now)),
                ("state_reason", models.CharField(blank=True, max_length=500)),
                ("owner_name", models.CharField(blank=True, max_length=200)),
                ("snoozed_from", models.CharField(blank=True, help_text="State before the snooze.", max_length=20)),
                ("snoozed_until", models.DateTimeField(blank=True, null=True)),
                (
                    "snoozed_for",
                    models.PositiveIntegerField(
                        blank=True, help_text="Failures left until the snooze ends.", null=True
                    ),
                ),
                (
                    "resolved_in",
                    models.PositiveIntegerField(blank=True, help_text="Version that resolves the incident.", null=True),
                ),
                (
                    "split_text",
                    models.CharField(
                        blank=True,
                        help_text="Failures of `split_from` with this text in the message belong here.",
                        max_length=200,
                    ),
                ),
                (
                    "run_count",
                    models.PositiveIntegerField(
                        default=0,
                        help_text="Failed runs, without replays, with those of the incidents that are merged into this one.",
                    ),
                ),
                ("first_version", models.PositiveIntegerField(default=0)),
                ("last_version", models.PositiveIntegerField(default=0)),
                ("first_failed_at", models.DateTimeField()),
                ("last_failed_at", models.DateTimeField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "definition",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="incidents", to="workflows.definition"
                    ),
                ),
                (
                    "merged_into",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="merged",
                        to="workflows.incident",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "split_from",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="splits",
                        to="workflows.incident",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_incidents",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "number"), name="workflow_incidents_number"),
                    models.UniqueConstraint(fields=("tenant", "fingerprint"), name="workflow_incidents_fingerprint"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("merged_into__isnull", True)),
                        fields=["tenant", "state", "-last_failed_at"],
                        name="workflow_incidents_shown",
                    ),
                    models.Index(
                        condition=models.Q(("merged_into__isnull", True), models.Q(("state", "closed"), _negated=True)),
                        fields=["last_failed_at"],
                        name="workflow_incidents_quiet",
                    ),
                    models.Index(
                        condition=models.Q(("snoozed_until__isnull", False), ("state", "snoozed")),
                        fields=["snoozed_until"],
                        name="workflow_incidents_snoozed",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IncidentCursor",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "read_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Time of writing (`projected_at`) of the newest failed run that was read.",
                        null=True,
                    ),
                ),
                ("last_number", models.PositiveIntegerField(default=0)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_incident_cursors",
                "constraints": [models.UniqueConstraint(fields=("tenant",), name="workflow_incident_cursors_once")],
            },
        ),
        migrations.CreateModel(
            name="IncidentFailure",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("run_id", models.UUIDField()),
                ("failed_at", models.DateTimeField()),
                ("version", models.PositiveIntegerField()),
                ("origin_id", models.UUIDField(help_text="The run itself, or the first run of its chain of replays.")),
                (
                    "is_counted",
                    models.BooleanField(
                        help_text="False for a replay if its original is counted in the same incident already."
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="failures", to="workflows.incident"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_incident_failures",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "run_id", "failed_at"), name="workflow_incident_failures_once"
                    )
                ],
                "indexes": [
                    models.Index(fields=["tenant", "incident", "-failed_at"], name="workflow_incident_failures_new"),
                    models.Index(fields=["tenant", "origin_id"], name="workflow_incident_failures_by"),
                ],
            },
        ),
        migrations.CreateModel(
            name="IncidentHour",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("version", models.PositiveIntegerField()),
                ("failures", models.PositiveIntegerField(default=0)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="hours", to="workflows.incident"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_incident_hours",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "incident", "hour", "version"), name="workflow_incident_hours_key"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="IncidentNote",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("author_name", models.CharField(max_length=200)),
                ("text", models.TextField()),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="notes", to="workflows.incident"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_incident_notes",
                "indexes": [
                    models.Index(fields=["tenant", "incident", "-created_at"], name="workflow_incident_notes_new")
                ],
            },
        ),
        migrations.AddField(
            model_name="bulkjob",
            name="incident",
            field=models.ForeignKey(
                blank=True,
                help_text="Incident whose runs the job replays.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="replay_jobs",
                to="workflows.incident",
            ),
        ),
        migrations.CreateModel(
            name="RunHold",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("reason", models.TextField()),
                ("held_by_name", models.CharField(max_length=200)),
                ("held_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="holds", to="workflows.run"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_run_holds",
                "constraints": [models.UniqueConstraint(fields=("tenant", "run"), name="workflow_run_holds_once")],
            },
        ),
        migrations.CreateModel(
            name="PrunedRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("definition_key", models.CharField(max_length=200)),
                ("ended_at", models.DateTimeField()),
                ("pruned_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "retention_days",
                    models.PositiveIntegerField(help_text="Period of the tenant when the run was deleted."),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_pruned_runs",
                "indexes": [models.Index(fields=["tenant", "pruned_at"], name="workflow_pruned_runs_by_age")],
            },
        ),
        migrations.CreateModel(
            name="LedgerCheckpoint",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=workflows.models.fields.new_id, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "seq",
                    models.BigIntegerField(
                        help_text="Position of the last deleted link. All links up to it are deleted."
                    ),
                ),
                ("hash", models.CharField(help_text="Hash of the last deleted link.", max_length=64)),
                ("written_at", models.DateTimeField(help_text="Time at which the last deleted link was written.")),
                (
                    "commands",
                    models.BigIntegerField(default=0, help_text="Number of deleted rows of the command ledger."),
                ),
                ("pruned_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "tenant",
                    models.ForeignKey(
                        editable=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="workflows.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "workflow_ledger_checkpoints",
                "constraints": [models.UniqueConstraint(fields=("tenant",), name="workflow_ledger_checkpoints_once")],
            },
        ),
    ]
