"""PostgreSQL itself keeps tenants apart, behind the application's own scoping (docs/reference/administration.md#tenants-and-roles)."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant, make_token, publish
from workflows.models import ApiToken, Definition, Event, EventDelivery, EventType, Run, RunWait, Tenant
from workflows.services.tokens import token_hash
from workflows.temporal.interceptors import _with_connections_given_back
from workflows.tenancy import NOBODY, Scope, current_scope, scope_of, system_scope, tenant_scope

pytestmark = pytest.mark.usefixtures("database", "unheard")

TABLES = sorted(model._meta.db_table for model in apps.get_app_config("workflows").get_models())


def asked(sql: str, *values: Any, alias: str = "owner") -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


# -- Of the schema ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_tenants_is_secured(table: str) -> None:
    columns = {
        row[0] for row in asked("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table)
    }
    if table == "tenants":
        assert "tenant_id" not in columns
        return
    assert "tenant_id" in columns, "every table but `tenants` carries tenant_id"
    assert asked("SELECT relrowsecurity FROM pg_class WHERE relname = %s", table) == [(True,)]
    policies = {row[0]: (row[1], row[2]) for row in asked(
        "SELECT policyname, roles::text[], coalesce(with_check, qual) FROM pg_policies WHERE tablename = %s", table
    )}  # fmt: skip
    assert policies["tenant_isolation"][0] == ["pointsman_app"]
    assert "pointsman.tenant" in policies["tenant_isolation"][1]
    assert policies["system_access"][0] == ["pointsman_system"]
    more = {"api_tokens": {"own_token"}, "tenant_memberships": {"own_memberships"}}.get(table, set())
    assert set(policies) == {"tenant_isolation", "system_access", *more}


def test_no_table_of_the_database_is_forgotten() -> None:
    found = {row[0] for row in asked("SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id' AND table_schema = 'public'")}  # fmt: skip
    assert found == set(TABLES) - {"tenants"}


def test_foreign_keys_between_tables_of_tenants_carry_the_tenant() -> None:
    """Key checks pass by row-level security: a key that names no tenant could point into another's rows."""
    keys = asked(
        "SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, "
        "array(SELECT attname::text FROM unnest(c.conkey) k JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k) "
        "FROM pg_constraint c WHERE c.contype = 'f'"
    )
    of_tenants = set(TABLES) - {"tenants"}
    between = [(table, target, set(columns)) for table, target, columns in keys if {table, target} <= of_tenants]
    plain = {(table, target, *columns) for table, target, columns in between if len(columns) == 1}
    with_tenant = {
        (table, target, *(columns - {"tenant_id"})) for table, target, columns in between if "tenant_id" in columns
    }
    assert plain == with_tenant
    assert len(plain) > 20


@pytest.mark.parametrize("role", ["pointsman_app", "pointsman_system"])
def test_the_roles_own_nothing_and_pass_by_nothing(role: str) -> None:
    row = "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolcanlogin FROM pg_roles WHERE rolname = %s"
    assert asked(row, role) == [(False,) * 5]
    assert asked("SELECT count(*) FROM pg_tables WHERE tableowner = %s", role) == [(0,)]


# -- Of rows --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(tenant: Any) -> Tenant:
    """Another tenant with rows; `tenant` has some too."""
    other = make_tenant()
    for owner in (tenant, other):
        open_wait(owner)
        receive(owner)
        make_token(owner)
        EventType.objects.create(tenant=owner, name="REPLIED")
    return other


ROWS: list[Any] = [Run, RunWait, Event, Definition, ApiToken, EventType]


@pytest.mark.parametrize("model", ROWS)
def test_a_query_that_forgot_its_tenant_finds_nothing_of_another(tenant: Any, other: Tenant, model: Any) -> None:
    with tenant_scope(tenant.id):
        assert set(model.objects.values_list("tenant_id", flat=True)) == {tenant.id}
        assert asked(f"SELECT DISTINCT tenant_id FROM {model._meta.db_table}", alias="default") == [(tenant.id,)]
    with scope_of(NOBODY):
        assert not model.objects.exists()
    assert {tenant.id, other.id} <= set(model.objects.values_list("tenant_id", flat=True))


def test_nothing_is_written_for_another(tenant: Any, other: Tenant) -> None:
    theirs = EventType.objects.get(tenant=other)
    with tenant_scope(tenant.id):
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            EventType.objects.create(tenant=other, name="X")
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            EventType.objects.filter(tenant=tenant).update(tenant=other)
        assert EventType.objects.filter(id=theirs.id).update(description="x") == 0
        assert EventType.objects.filter(id=theirs.id).delete()[0] == 0
    assert EventType.objects.get(id=theirs.id).description == ""


def test_a_row_cannot_point_at_a_row_of_another(tenant: Any, other: Tenant) -> None:
    event, run = Event.objects.get(tenant=tenant), make_run(other)
    with pytest.raises(IntegrityError, match="_tenant"), system_scope(), transaction.atomic():
        EventDelivery.objects.create(tenant=tenant, event=event, kind="wait", run=run)


def test_the_scope_ends_with_its_block_also_within_a_transaction(tenant: Any, other: Tenant) -> None:
    with transaction.atomic():
        with tenant_scope(tenant.id):
            assert Event.objects.count() == 1
            with tenant_scope(other.id), transaction.atomic():
                assert Event.objects.get().tenant_id == other.id
            assert Event.objects.get().tenant_id == tenant.id
        with scope_of(NOBODY):
            assert Event.objects.count() == 0
        assert Event.objects.filter(tenant__in=[tenant, other]).count() == 2


def test_a_scope_survives_an_error_and_its_rollback(tenant: Any, other: Tenant) -> None:
    with tenant_scope(tenant.id), transaction.atomic():
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        assert Event.objects.get().tenant_id == tenant.id


def test_nothing_of_a_scope_stays_on_the_connection(tenant: Any) -> None:
    with tenant_scope(tenant.id):
        Event.objects.count()
    raw = connection.connection.execute("SELECT current_setting('pointsman.tenant', true), current_user").fetchone()
    assert raw == ("", "pointsman_app")


def test_a_thread_begins_without_a_scope(tenant: Any, other: Tenant) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.extend([current_scope(), Event.objects.count()])
        connections.close_all()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [NOBODY, 0]


def test_before_the_tenant_only_ones_own_token_is_seen(tenant: Any, other: Tenant) -> None:
    wanted = token_hash(make_token(tenant))
    with scope_of(Scope(token_hash=wanted)):
        assert [row.token_hash for row in ApiToken.objects.all()] == [wanted]
        assert not Event.objects.exists()
        assert ApiToken.objects.update(name="x") == 0


def test_an_activity_sees_the_tenant_of_its_request(tenant: Any, other: Tenant) -> None:
    run = _with_connections_given_back(lambda request: set(Event.objects.values_list("tenant_id", flat=True)))
    assert run(SimpleNamespace(tenant_id=str(other.id))) == {other.id}


def test_a_scope_is_no_way_to_write_sql(tenant: Any) -> None:
    with pytest.raises(ValueError, match="is no id"), tenant_scope("x', true); DROP TABLE tenants; --"):
        Event.objects.count()


def test_a_published_version_of_another_cannot_be_run(tenant: Any, other: Tenant) -> None:
    version = publish(other, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    with pytest.raises(IntegrityError, match="_tenant"), transaction.atomic():
        Definition.objects.create(tenant=tenant, key="stolen", name="x", published_version=version)


def test_one_signs_in_before_any_tenant_is_known(tenant: Any) -> None:
    """The form asks for memberships, and the request after it for the tenant; nobody's scope is about."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from workflows.models import TenantMembership

    user = get_user_model().objects.create_user(f"member-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="viewer")
    with scope_of(NOBODY):
        client = Client()
        given = {"username": user.username, "password": "a long passphrase"}
        assert client.post("/admin/login/?next=/admin/", given).status_code == 302
        assert client.get("/admin/").status_code == 200
