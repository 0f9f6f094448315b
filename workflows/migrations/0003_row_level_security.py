"""Row-level security on every tenant table (docs/reference/administration.md#tenants-and-roles).

Three further policies permit the queries that find the tenant itself: the memberships of a user, one API token, and one
invitation.
"""

from django.conf import settings
from django.db import migrations

from workflows.models.row_level_security import EnableTenantPolicy

APP_ROLE = f'"{settings.DATABASE_APP_ROLE}"'
TENANT_MODELS = [
    "ActionInvocation", "ApiToken", "BulkItem", "BulkJob", "Command", "CommandEntry", "Connector", "DataStoreEntry",
    "Definition", "DefinitionVersion", "Event", "EventDelivery", "EventKey", "EventType", "HolidayCalendar", "HumanTask",
    "Incident", "IncidentCursor", "IncidentFailure", "IncidentHour", "IncidentNote", "Invitation",
    "LedgerCheckpoint", "Notification", "OutboxEvent", "PayloadSchema", "PrunedRun", "Run", "RunHold", "RunLog",
    "RunStep", "RunValue", "RunWait", "SavedView", "Schedule", "ScheduleOccurrence", "Secret", "StepCount",
    "TaskDraft", "TenantMembership",
]  # fmt: skip


def own_rows(policy, table, condition):
    return migrations.RunSQL(
        f"CREATE POLICY {policy} ON {table} FOR SELECT TO {APP_ROLE} USING ({condition})",
        f"DROP POLICY {policy} ON {table}",
    )


class Migration(migrations.Migration):
    dependencies = [("workflows", "0002_roles_guards_triggers")]

    operations = [
        *(EnableTenantPolicy(model) for model in TENANT_MODELS),
        own_rows(
            "own_memberships",
            "tenant_memberships",
            "user_id::text = nullif(current_setting('pointsman.user', true), '')",
        ),
        own_rows(
            "own_token",
            "api_tokens",
            "token_hash = nullif(current_setting('pointsman.token_hash', true), '')",
        ),
        own_rows(
            "own_invitation",
            "tenant_invitations",
            "code_hash = nullif(current_setting('pointsman.token_hash', true), '')",
        ),
        EnableTenantPolicy("IdentityProvider"),
        # Sign-in finds a provider by its id, or by the slug of its tenant, before it knows the tenant.
        own_rows(
            "own_provider",
            "tenant_identity_providers",
            "nullif(current_setting('pointsman.token_hash', true), '') IN (id::text, sign_in_name)",
        ),
        EnableTenantPolicy("SignInRecord"),
        # Sign-in code records attempts of accounts without a tenant. Only superusers read these rows.
        migrations.RunSQL(
            f"CREATE POLICY without_tenant ON sign_in_records FOR INSERT TO {APP_ROLE} WITH CHECK (tenant_id IS NULL)",
            "DROP POLICY without_tenant ON sign_in_records",
        ),
        own_rows(
            "superusers",
            "sign_in_records",
            "tenant_id IS NULL AND EXISTS (SELECT FROM auth_user WHERE is_superuser AND is_active"
            " AND id::text = nullif(current_setting('pointsman.user', true), ''))",
        ),
    ]
