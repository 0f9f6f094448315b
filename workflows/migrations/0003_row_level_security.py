"""Row-level security on every tenant table (docs/reference/administration.md#tenants-and-roles).

Three further policies permit the queries that find the tenant itself: the memberships of a user, one API token, and one
invitation.
"""

from django.conf import settings
from django.db import migrations

from workflows.models.row_level_security import EnableTenantPolicy

APP_ROLE, SYSTEM_ROLE = f'"{settings.DATABASE_APP_ROLE}"', f'"{settings.DATABASE_SYSTEM_ROLE}"'
SIGNIN_ROLE = f'"{settings.DATABASE_SIGNIN_ROLE}"'
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


# A request finds its tenant with the policies of own_rows above, before it knows the tenant. Superusers see all tenants.
OF_TENANT = "id = nullif(current_setting('pointsman.tenant', true), '')::uuid"
KEY = "nullif(current_setting('pointsman.token_hash', true), '')"
TENANTS = f"""
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenants TO {APP_ROLE} USING ({OF_TENANT}) WITH CHECK ({OF_TENANT});
CREATE POLICY system_access ON tenants TO {SYSTEM_ROLE} USING (true) WITH CHECK (true);
CREATE POLICY of_member ON tenants FOR SELECT TO {APP_ROLE} USING (id IN (SELECT tenant_id FROM tenant_memberships
    WHERE user_id::text = nullif(current_setting('pointsman.user', true), '')));
CREATE POLICY of_key ON tenants FOR SELECT TO {APP_ROLE} USING (
    id IN (SELECT tenant_id FROM api_tokens WHERE token_hash = {KEY})
    OR id IN (SELECT tenant_id FROM tenant_invitations WHERE code_hash = {KEY})
    OR id IN (SELECT tenant_id FROM tenant_identity_providers WHERE {KEY} IN (id::text, sign_in_name)));
CREATE POLICY of_superuser ON tenants FOR SELECT TO {APP_ROLE} USING (EXISTS (SELECT FROM auth_user
    WHERE is_superuser AND is_active AND id::text = nullif(current_setting('pointsman.superuser', true), '')));
"""
DROP_TENANTS = """
ALTER TABLE tenants DISABLE ROW LEVEL SECURITY;
DROP POLICY tenant_isolation ON tenants;
DROP POLICY system_access ON tenants;
DROP POLICY of_member ON tenants;
DROP POLICY of_key ON tenants;
DROP POLICY of_superuser ON tenants;
"""
# A producer of events knows the slug of its tenant, which is not a secret. Without this function, a login would have to
# see all tenants to find one.
TENANTS_OF_SLUGS = """
CREATE FUNCTION workflow_tenants_of_slugs(slugs text[]) RETURNS TABLE (slug text, id uuid, is_active boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT tenant.slug, tenant.id, tenant.is_active FROM tenants AS tenant WHERE tenant.slug = ANY(slugs)
$$;
"""


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
        # Only the login of sign-in writes the audit log. Only superusers read the rows of accounts without a tenant.
        migrations.RunSQL(
            f"CREATE POLICY of_sign_in ON sign_in_records FOR INSERT TO {SIGNIN_ROLE} WITH CHECK (true)",
            "DROP POLICY of_sign_in ON sign_in_records",
        ),
        own_rows(
            "superusers",
            "sign_in_records",
            "tenant_id IS NULL AND EXISTS (SELECT FROM auth_user WHERE is_superuser AND is_active"
            " AND id::text = nullif(current_setting('pointsman.user', true), ''))",
        ),
        migrations.RunSQL(TENANTS, DROP_TENANTS),
        migrations.RunSQL(TENANTS_OF_SLUGS, "DROP FUNCTION workflow_tenants_of_slugs(text[])"),
    ]
