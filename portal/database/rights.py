"""Rights of the logins on tables, columns, sequences and functions (docs/administrators.md#database-logins).

`manage.py migrate` calls `rights_apply` after every migration. So a new table of any app has its rights at once, and a
changed rule needs no migration. A table that no rule names gets the rights of its kind.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models

from portal.database_router import SIGNIN_APPS

APP, SYSTEM, SIGNIN = "APP", "SYSTEM", "SIGNIN"
BOTH = (APP, SYSTEM)
ROWS = "SELECT, INSERT, UPDATE, DELETE"
# The portal writes the outcome of a command, and nothing else of its row.
OUTCOME_COLUMNS = "state, code, message, details, http_status, decided_at, observed_at"
# Columns of an account that other tables may be joined with. The password is not one of them.
ACCOUNT_COLUMNS = (
    "id, username, first_name, last_name, email, is_active, is_staff, is_superuser, last_login, date_joined"
)
# Columns of a tenant that its administrators and superusers change. Its id and its slug never change.
TENANT_COLUMNS = (
    "name, is_active, closed_run_retention_days, event_retention_days, ledger_retention_days,"
    " notification_retention_days, sign_in_retention_days, delivery_concurrency_limit, redaction_rules,"
    " events_per_second_limit, open_runs_limit, stored_bytes_limit, usage, usage_at, maintenance_since,"
    " maintenance_reason, maintenance_by_name, requires_second_factor"
)
EVERYBODY = (APP, SYSTEM, SIGNIN)
# Tables whose rows the application deletes. Retention deletes the rows of the other tables with the login of system
# work. Only a login with DELETE, or with UPDATE on the whole table, can lock a table against the work of all tenants.
DELETED_BY_APP = frozenset(
    {
        "portal_maintenance",
        "tenant_identity_providers",
        "tenant_memberships",
        "workflow_connectors",
        "workflow_data_store",
        "workflow_event_outbox",
        "workflow_event_types",
        "workflow_holiday_calendars",
        "workflow_run_holds",
        "workflow_run_steps",
        "workflow_run_values",
        "workflow_run_waits",
        "workflow_runs",
        "workflow_saved_views",
        "workflow_schemas",
        "workflow_secrets",
        "workflow_step_counts",
        "workflow_task_drafts",
        "workflow_tasks",
    }
)
# Tables whose rights differ from those of their kind: table -> {role: privileges}.
TABLES: dict[str, dict[str, str]] = {
    "auth_user": {SIGNIN: ROWS, **dict.fromkeys(BOTH, f"SELECT ({ACCOUNT_COLUMNS})")},
    "django_content_type": dict.fromkeys(EVERYBODY, "SELECT"),
    "django_migrations": dict.fromkeys(EVERYBODY, "SELECT"),
    "sign_in_records": {SIGNIN: "INSERT", **dict.fromkeys(BOTH, "SELECT")},
    # A right on the whole table would let the login of the application lock the table for all tenants.
    "tenants": {APP: f"SELECT, INSERT, UPDATE ({TENANT_COLUMNS})", SYSTEM: ROWS},
    "workflow_commands": dict.fromkeys(BOTH, f"SELECT, INSERT, UPDATE ({OUTCOME_COLUMNS})"),
    "workflow_command_entries": dict.fromkeys(BOTH, "SELECT"),
    "workflow_ledger_checkpoints": dict.fromkeys(BOTH, "SELECT"),
}
# Functions that a login may call: name -> roles. Triggers need no right to call their function.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "_pgtrigger_should_ignore": BOTH,
    "sign_in_records_prune": (SYSTEM,),
    "workflow_audit_content": BOTH,
    "workflow_ledger_prune": (SYSTEM,),
    "workflow_problem_counts": BOTH,
    "workflow_tenants_of_slugs": BOTH,
}


def role_names() -> dict[str, str]:
    return {
        APP: settings.DATABASE_APP_ROLE,
        SYSTEM: settings.DATABASE_SYSTEM_ROLE,
        SIGNIN: settings.DATABASE_SIGNIN_ROLE,
    }


def table_rights() -> dict[str, dict[str, str]]:
    """Return the privileges of each role for each table of the installed apps, and for `django_migrations`."""
    rights = {}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        if model._meta.managed and not model._meta.proxy:
            rights[model._meta.db_table] = _rights_of_kind(model)
    return rights | TABLES


def _rights_of_kind(model: type[models.Model]) -> dict[str, str]:
    if model._meta.app_label in SIGNIN_APPS:
        return {SIGNIN: ROWS}
    if model._meta.db_table in DELETED_BY_APP:
        return dict.fromkeys(BOTH, ROWS)
    columns = ", ".join(f'"{field.column}"' for field in model._meta.concrete_fields if not field.primary_key)
    return {APP: f"SELECT, INSERT, UPDATE ({columns})", SYSTEM: ROWS}


def rights_apply(connection: Any) -> None:
    """Revoke all rights of the logins, and grant the rights of the rules, in one transaction.

    The connection has the login of the owner. Cost: a few statements per table.
    """
    with connection.cursor() as cursor:
        cursor.execute("\n".join(_statements(connection, cursor)))


def _statements(connection: Any, cursor: Any) -> Iterator[str]:
    name = connection.ops.quote_name
    roles = {kind: name(role) for kind, role in role_names().items()}
    everybody = ", ".join([*roles.values(), "PUBLIC"])
    database = name(connection.settings_dict["NAME"])
    # A temporary table or an object of a role's own could take the name of another object.
    yield f"REVOKE TEMPORARY ON DATABASE {database} FROM {everybody};"
    yield f"REVOKE CREATE ON SCHEMA public FROM {everybody};"
    yield f"GRANT USAGE ON SCHEMA public TO {', '.join(roles.values())};"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {everybody};"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {everybody};"
    yield "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;"
    existing = set(connection.introspection.table_names(cursor))
    for table, rights in table_rights().items():
        if table in existing:
            for kind, privileges in rights.items():
                yield f"GRANT {privileges} ON {name(table)} TO {roles[kind]};"
    yield from _sequence_statements(cursor, name, roles)
    yield from _function_statements(cursor, roles, everybody)


def _sequence_statements(cursor: Any, name: Any, roles: dict[str, str]) -> Iterator[str]:
    """Grant the sequence of a table to each login that may insert rows."""
    rights = table_rights()
    cursor.execute(
        "SELECT s.relname, t.relname FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i')"
        " AND d.classid = 'pg_class'::regclass JOIN pg_class t ON t.oid = d.refobjid"
        " WHERE s.relkind = 'S' AND s.relnamespace = 'public'::regnamespace"
    )
    for sequence, table in cursor.fetchall():
        for kind, privileges in rights.get(table, {}).items():
            if "INSERT" in privileges:
                yield f"GRANT USAGE, SELECT ON SEQUENCE {name(sequence)} TO {roles[kind]};"


def _function_statements(cursor: Any, roles: dict[str, str], everybody: str) -> Iterator[str]:
    """Revoke the right to call each function that is not part of an extension. Grant it where a rule says so."""
    cursor.execute(
        "SELECT proname, oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
        " AND proowner = current_user::regrole AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid"
        " AND deptype = 'e')"
    )
    for function, signature in cursor.fetchall():
        yield f"REVOKE ALL ON FUNCTION {signature} FROM {everybody};"
        for kind in FUNCTIONS.get(function, ()):
            yield f"GRANT EXECUTE ON FUNCTION {signature} TO {roles[kind]};"
