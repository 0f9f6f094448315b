"""Row-level security behind the application's own scoping (docs/reference/administration.md#tenants-and-roles), and foreign keys that carry the tenant.

`workflows/tenancy.py` tells each statement's tenant. Key checks pass by row-level security, so a foreign key between tables
of tenants names the tenant too: a row can point only at a row of its own tenant.
"""

from django.conf import settings
from django.db import migrations

TENANT = "tenant_id = nullif(current_setting('pointsman.tenant', true), '')::uuid"
# What is looked up before the tenant is known.
OWN_MEMBERSHIPS = "user_id::text = nullif(current_setting('pointsman.user', true), '')"
OWN_TOKEN = "token_hash = nullif(current_setting('pointsman.token_hash', true), '')"


def tenant_tables(apps):
    models = [model for model in apps.get_app_config("workflows").get_models() if model._meta.managed]
    return [model for model in models if any(field.name == "tenant" for field in model._meta.fields)]


def secure(apps, schema_editor):
    app, system = settings.DATABASE_APP_ROLE, settings.DATABASE_SYSTEM_ROLE
    run, name = schema_editor.execute, schema_editor.quote_name
    _make_system_role(schema_editor, system)
    for model in tenant_tables(apps):
        table = name(model._meta.db_table)
        run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        run(f"CREATE POLICY of_the_tenant ON {table} TO {name(app)} USING ({TENANT}) WITH CHECK ({TENANT})")
        run(f"CREATE POLICY of_all_tenants ON {table} TO {name(system)} USING (true) WITH CHECK (true)")
    run(f"REVOKE INSERT, UPDATE, DELETE ON workflow_command_entries FROM {name(system)}")
    run(f"CREATE POLICY own_memberships ON tenant_memberships FOR SELECT TO {name(app)} USING ({OWN_MEMBERSHIPS})")
    run(f"CREATE POLICY own_token ON api_tokens FOR SELECT TO {name(app)} USING ({OWN_TOKEN})")


def _make_system_role(schema_editor, role):
    name = schema_editor.quote_name(role)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE ROLE {name} NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS")
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not cursor.fetchone()[0]:
            cursor.execute(f"GRANT {name} TO current_user")
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
        cursor.execute(f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {name}")
        cursor.execute(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {name}"
        )
        cursor.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {name}")


def carry_tenants(apps, schema_editor):
    """For each foreign key between tables of tenants a second one over (tenant_id, key)."""
    run, name = schema_editor.execute, schema_editor.quote_name
    tenant_models = tenant_tables(apps)
    tables = {model._meta.db_table for model in tenant_models}
    pointed_at = set()
    for model in tenant_models:
        for field in model._meta.fields:
            target = field.remote_field.model._meta.db_table if field.is_relation else None
            if target not in tables:
                continue
            if target not in pointed_at:
                pointed_at.add(target)
                run(f"ALTER TABLE {name(target)} ADD CONSTRAINT {name(target + '_of_tenant')} UNIQUE (tenant_id, id)")
    for model in tenant_models:
        for field in model._meta.fields:
            target = field.remote_field.model._meta.db_table if field.is_relation else None
            if target not in tables:
                continue
            table = model._meta.db_table
            key = f"{table}_{field.column}_tenant"[:63]
            run(
                f"ALTER TABLE {name(table)} ADD CONSTRAINT {name(key)} FOREIGN KEY (tenant_id, {name(field.column)}) "
                f"REFERENCES {name(target)} (tenant_id, id) DEFERRABLE INITIALLY DEFERRED"
            )


class Migration(migrations.Migration):
    dependencies = [("workflows", "0006_command_actions")]
    operations = [
        migrations.RunPython(carry_tenants, migrations.RunPython.noop),
        migrations.RunPython(secure, migrations.RunPython.noop),
    ]
