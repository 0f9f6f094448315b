"""Check of the rules for tenant tables in PostgreSQL's catalogue: policies, unique keys, indexes and foreign keys."""

from typing import Any

from django.conf import settings

from workflows.models.row_level_security import SYSTEM_POLICY, TENANT_POLICY

CONDITION = "(tenant_id = (NULLIF(current_setting('pointsman.tenant'::text, true), ''::text))::uuid)"
# Indexes of queries that search the rows of all tenants, each with the process that needs it.
INDEXES_OF_ALL_TENANTS = {
    "workflow_bulk_jobs_running": "sweep: bulk jobs with a slice that is due",
    "workflow_commands_undecided": "reconciler: commands without a final state",
    "workflow_events_buffered": "sweep: events whose buffer time has ended",
    "workflow_schedules_by_sync": "reconciler: schedules that were compared longest ago",
    "workflow_incidents_quiet": "task: incidents without a failure for some days",
    "workflow_incidents_snoozed": "task: snoozes whose time has come",
    "tenant_identity_providers_slug": "sign-in: the slug names the tenant",
    "workflow_runs_starting": "sweep: launches that were interrupted",
    "api_tokens_token_hash_key": "authentication: the token names the tenant",
    "api_tokens_token_hash_70d52dcc_like": "added by Django to each unique text column",
    "tenant_invitations_code_hash_key": "acceptance: the code names the tenant",
    "tenant_invitations_code_hash_b08e5383_like": "added by Django to each unique text column",
}

# Policies beside those of the tenant and of the system.
MORE_POLICIES = {
    "api_tokens": {"own_token"},
    "sign_in_records": {"of_sign_in", "superusers"},
    "tenant_identity_providers": {"own_provider"},
    "tenant_memberships": {"own_memberships"},
    "tenant_invitations": {"own_invitation"},
}


def tenant_table_violations(cursor: Any) -> list[str]:
    """Return one sentence for each rule that a table with `tenant_id` breaks."""
    violations = []
    for table in _tenant_tables(cursor):
        violations += _policy_violations(cursor, table)
        violations += _index_violations(cursor, table)
        violations += _foreign_key_violations(cursor, table)
    return violations


def _rows(cursor: Any, sql: str, *values: Any) -> list[Any]:
    cursor.execute(sql, values)
    return list(cursor.fetchall())


def _tenant_tables(cursor: Any) -> list[str]:
    return [
        row[0]
        for row in _rows(
            cursor,
            "SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relkind IN ('r', 'p')"
            " AND c.relnamespace = 'public'::regnamespace AND a.attname = 'tenant_id' AND NOT a.attisdropped"
            " ORDER BY c.relname",
        )
    ]


def _policy_violations(cursor: Any, table: str) -> list[str]:
    violations = []
    if _rows(cursor, "SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass", table) != [(True,)]:
        violations.append(f"{table}: row-level security is off; add EnableTenantPolicy to the migration")
    found = set(
        _rows(
            cursor,
            "SELECT policyname, roles::text, cmd, qual, with_check FROM pg_policies"
            " WHERE schemaname = 'public' AND tablename = %s",
            table,
        )
    )
    wanted = {
        (TENANT_POLICY, f"{{{settings.DATABASE_APP_ROLE}}}", "ALL", CONDITION, CONDITION),
        (SYSTEM_POLICY, f"{{{settings.DATABASE_SYSTEM_ROLE}}}", "ALL", "true", "true"),
    }
    violations += [f"{table}: the policy {policy[0]} is missing or different" for policy in sorted(wanted - found)]
    more = {policy[0] for policy in found - wanted}
    allowed = MORE_POLICIES.get(table, set())
    return violations + [f"{table}: the policy {name} is not known" for name in sorted(more - allowed)]


def _index_violations(cursor: Any, table: str) -> list[str]:
    """Check that unique keys and indexes start with the tenant. Primary keys and single foreign keys are exempt."""
    indexes = _rows(
        cursor,
        "SELECT i.indexrelid::regclass::text, i.indisunique, array(SELECT a.attname::text FROM unnest(i.indkey)"
        " WITH ORDINALITY k(number, position) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number"
        " ORDER BY k.position) FROM pg_index i WHERE i.indrelid = %s::regclass AND NOT i.indisprimary",
        table,
    )
    keys = {row[0] for row in _rows(
        cursor,
        "SELECT a.attname::text FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid"
        " AND a.attnum = c.conkey[1] WHERE c.contype = 'f' AND cardinality(c.conkey) = 1 AND c.conrelid = %s::regclass",
        table,
    )}  # fmt: skip
    violations = []
    for name, is_unique, columns in indexes:
        is_foreign_key = not is_unique and len(columns) == 1 and columns[0] in keys
        if columns[:1] != ["tenant_id"] and not is_foreign_key and name not in INDEXES_OF_ALL_TENANTS:
            kind = "unique key" if is_unique else "index"
            violations.append(f"{table}: the {kind} {name} does not start with tenant_id")
    return violations


def _foreign_key_violations(cursor: Any, table: str) -> list[str]:
    """Check that a foreign key to a tenant table has a second constraint with the tenant."""
    keys = _rows(
        cursor,
        "SELECT c.confrelid::regclass::text, array(SELECT a.attname::text FROM unnest(c.conkey) k JOIN pg_attribute a"
        " ON a.attrelid = c.conrelid AND a.attnum = k) FROM pg_constraint c"
        " WHERE c.contype = 'f' AND c.conrelid = %s::regclass",
        table,
    )
    tenant_tables = set(_tenant_tables(cursor))
    with_tenant = {(target, *sorted(set(columns) - {"tenant_id"})) for target, columns in keys if len(columns) == 2}
    return [
        f"{table}: the foreign key {columns[0]} to {target} does not carry the tenant; add AddTenantForeignKey"
        for target, columns in keys
        if target in tenant_tables and len(columns) == 1 and (target, *columns) not in with_tenant
    ]
