"""Migrations: from zero, back and forth again; the refusal of the old history; the rules for tenant tables."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, migrations, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from portal.management.commands.migrate import OLD_HISTORY
from tests.support.schema_catalogue import catalogue_differences, schema_catalogue
from tests.support.tenant_tables import INDEXES_OF_ALL_TENANTS, tenant_table_violations
from workflows.models.row_level_security import AddTenantForeignKey, EnableTenantPolicy

pytestmark = pytest.mark.usefixtures("database")

SECOND = "second"


@pytest.fixture
def second_database() -> Iterator[Any]:
    """Return a connection to an empty database beside the one of the other tests."""
    name = "pointsman_second"
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    connections.databases[SECOND] = {**connections["owner"].settings_dict, "NAME": name}
    try:
        yield connections[SECOND]
    finally:
        connections[SECOND].close()
        del connections[SECOND], connections.databases[SECOND]
        with connections["owner"].cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name}")


def migrate(*target: str) -> None:
    call_command("migrate", *target, database=SECOND, interactive=False, verbosity=0)


def catalogue(connection: Any) -> dict[str, list[Any]]:
    with connection.cursor() as cursor:
        return schema_catalogue(cursor)


def roles(connection: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pointsman\\_%' ORDER BY rolname")
        return list(cursor.fetchall())


def test_migrations_run_from_zero_back_and_forth(second_database: Any) -> None:
    for app in ("auth", "admin", "sessions", "account", "socialaccount", "mfa", "usersessions"):
        migrate(app)
    before, before_roles = catalogue(second_database), roles(second_database)
    migrate()
    complete = catalogue(second_database)
    assert len(complete["policies"]) > len(before["policies"]) == 0

    migrate("workflows", "zero")
    assert catalogue_differences(before, catalogue(second_database)) == []
    assert roles(second_database) == before_roles  # they belong to the whole server

    migrate()
    assert catalogue_differences(complete, catalogue(second_database)) == []


@pytest.mark.parametrize("name", sorted(OLD_HISTORY))
def test_a_database_with_the_old_history_is_refused(second_database: Any, name: str) -> None:
    recorder = MigrationRecorder(second_database)
    recorder.ensure_schema()
    recorder.record_applied("workflows", name)
    before = catalogue(second_database)
    with pytest.raises(CommandError, match=f"old migration history.*{name}.*Create an empty database"):
        migrate()
    assert catalogue_differences(before, catalogue(second_database)) == []


def test_names_of_the_old_history_are_not_used_again() -> None:
    from django.db.migrations.loader import MigrationLoader

    names = {name for app, name in MigrationLoader(None).disk_migrations if app == "workflows"}
    assert names
    assert not names & OLD_HISTORY


# -- Tenant tables ----------------------------------------------------------------------------------------------------


def test_tenant_tables_follow_the_rules() -> None:
    with connections["owner"].cursor() as cursor:
        assert tenant_table_violations(cursor) == []
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE indexname = ANY(%s)", [list(INDEXES_OF_ALL_TENANTS)])
        assert cursor.fetchone() == (len(INDEXES_OF_ALL_TENANTS),)


@pytest.fixture
def owner_cursor() -> Iterator[Any]:
    """Return a cursor of the owner in a transaction that is rolled back."""
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        yield cursor
        transaction.set_rollback(True, using="owner")


def test_a_tenant_table_that_breaks_the_rules_is_found(owner_cursor: Any) -> None:
    owner_cursor.execute(
        "CREATE TABLE invoices (id uuid PRIMARY KEY, tenant_id uuid REFERENCES tenants, number text UNIQUE,"
        " run_id uuid REFERENCES workflow_runs, at timestamptz)"
    )
    owner_cursor.execute("CREATE INDEX invoices_newest ON invoices (at)")
    assert tenant_table_violations(owner_cursor) == [
        "invoices: row-level security is off; add EnableTenantPolicy to the migration",
        "invoices: the policy system_access is missing or different",
        "invoices: the policy tenant_isolation is missing or different",
        "invoices: the unique key invoices_number_key does not start with tenant_id",
        "invoices: the index invoices_newest does not start with tenant_id",
        "invoices: the foreign key run_id to workflow_runs does not carry the tenant; add AddTenantForeignKey",
    ]


def test_the_next_tenant_table_needs_one_operation(second_database: Any) -> None:
    """A new table follows the rules after one operation, and its reverse leaves nothing behind."""
    migrate()
    before = catalogue(second_database)
    state = project_state()
    create = migrations.CreateModel(
        "Invoice",
        [
            ("id", models.UUIDField(primary_key=True)),
            ("tenant", models.ForeignKey("workflows.Tenant", on_delete=models.PROTECT, related_name="+")),
            ("run", models.ForeignKey("workflows.Run", on_delete=models.PROTECT, related_name="+")),
        ],
    )
    parent = models.ForeignKey("workflows.Invoice", null=True, on_delete=models.PROTECT, related_name="+")
    operations = [
        create,
        EnableTenantPolicy("Invoice"),
        migrations.AddField("Invoice", "parent", parent),
        AddTenantForeignKey("Invoice", "parent"),
    ]
    states = [state]
    for operation in operations:
        state = states[-1].clone()
        operation.state_forwards("workflows", state)
        with second_database.schema_editor() as editor:
            operation.database_forwards("workflows", editor, states[-1], state)
        states.append(state)
    with second_database.cursor() as cursor:
        assert tenant_table_violations(cursor) == []
    for operation, (earlier, later) in reversed(list(zip(operations, pairwise(states), strict=True))):
        with second_database.schema_editor() as editor:
            operation.database_backwards("workflows", editor, later, earlier)
    assert catalogue_differences(before, catalogue(second_database)) == []


def project_state() -> ProjectState:
    from django.apps import apps

    return ProjectState.from_apps(apps)
