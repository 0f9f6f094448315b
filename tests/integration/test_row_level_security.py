"""Separation of tenants by PostgreSQL, behind the filters of the application.

The rules for the schema of tenant tables are checked in `test_migrations.py`.
Source: docs/reference/administration.md#tenants-and-roles
"""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from tests.support.events import open_wait, receive
from tests.support.factories import make_run, make_tenant, make_token, publish
from workflows.models import (
    ApiToken,
    Definition,
    Event,
    EventDelivery,
    EventType,
    Run,
    RunWait,
    Tenant,
    TenantMembership,
)
from workflows.selectors.tenants_of_slugs import tenants_of_slugs
from workflows.services.tokens import token_hash
from workflows.temporal.interceptors import _releasing_connections
from workflows.tenancy import NO_SCOPE, Scope, current_scope, scope_of, system_scope, tenant_scope

pytestmark = pytest.mark.usefixtures("database", "no_dispatcher")

TABLES = {model._meta.db_table for model in apps.get_app_config("workflows").get_models()}


def query(sql: str, *values: Any, alias: str = "owner") -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


# -- Schema -----------------------------------------------------------------------------------------------------------


def test_every_table_except_tenants_has_the_tenant() -> None:
    found = query(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant_id' AND table_schema = 'public'"
    )
    assert {row[0] for row in found} == TABLES - {"tenants", "portal_maintenance"}


@pytest.mark.parametrize("role", ["pointsman_app", "pointsman_system", "pointsman_signin"])
def test_roles_own_nothing_and_do_not_bypass_policies(role: str) -> None:
    row = "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles WHERE rolname = %s"
    assert query(row, role) == [(False,) * 5]
    assert query("SELECT count(*) FROM pg_tables WHERE tableowner = %s", role) == [(0,)]


# -- Rows -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def other(tenant: Any) -> Tenant:
    """Return a second tenant. Both tenants have rows."""
    other = make_tenant()
    for owner in (tenant, other):
        open_wait(owner)
        receive(owner)
        make_token(owner)
        EventType.objects.create(tenant=owner, name="REPLIED")
    return other


ROWS: list[Any] = [Run, RunWait, Event, Definition, ApiToken, EventType]


@pytest.mark.parametrize("model", ROWS)
def test_query_without_a_tenant_filter_finds_only_rows_of_the_scope(tenant: Any, other: Tenant, model: Any) -> None:
    with tenant_scope(tenant.id):
        assert set(model.objects.values_list("tenant_id", flat=True)) == {tenant.id}
        assert query(f"SELECT DISTINCT tenant_id FROM {model._meta.db_table}", alias="default") == [(tenant.id,)]
    with scope_of(NO_SCOPE):
        assert not model.objects.exists()
    assert {tenant.id, other.id} <= set(model.objects.values_list("tenant_id", flat=True))


def test_a_scope_sees_only_the_tenants_that_it_needs(tenant: Any, other: Tenant) -> None:
    member, superuser = (
        get_user_model().objects.create_user(f"{name}-{tenant.slug}", is_superuser=name == "root")
        for name in ("member", "root")
    )
    TenantMembership.objects.create(tenant=tenant, user=member, role="viewer")
    token = token_hash(f"key of {tenant.slug}")
    ApiToken.objects.filter(tenant=tenant).update(token_hash=token)
    both = {tenant.id, other.id}
    scopes = {
        NO_SCOPE: set(),
        Scope(tenant=str(tenant.id)): {tenant.id},
        Scope(user=str(member.pk)): {tenant.id},
        Scope(user=str(superuser.pk)): set(),
        Scope(token_hash=token): {tenant.id},
        Scope(superuser=str(superuser.pk)): both,
        Scope(superuser=str(member.pk)): set(),
        Scope(is_system=True): both,
    }
    for scope, seen in scopes.items():
        with scope_of(scope):
            found = query("SELECT id FROM tenants WHERE id = ANY(%s)", [tenant.id, other.id], alias="default")
            assert {row[0] for row in found} == seen, scope
    with scope_of(NO_SCOPE):
        assert tenants_of_slugs([other.slug, "no-such-tenant"]) == {other.slug: (other.slug, other.id, True)}


@pytest.mark.parametrize("superuser", [False, True])
def test_another_tenant_cannot_be_changed_or_created(tenant: Any, other: Tenant, superuser: bool) -> None:
    root = get_user_model().objects.create_user(f"root-{tenant.slug}", is_superuser=superuser)
    with scope_of(Scope(tenant=str(tenant.id), superuser=str(root.pk))):
        assert Tenant.objects.filter(id=other.id).update(name="mine") == 0
        assert Tenant.objects.filter(id=tenant.id).update(name="own") == 1
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            Tenant.objects.create(slug=f"new-{tenant.slug}", name="new")


def test_rows_of_another_tenant_cannot_be_written(tenant: Any, other: Tenant) -> None:
    theirs = EventType.objects.get(tenant=other)
    with tenant_scope(tenant.id):
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            EventType.objects.create(tenant=other, name="X")
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            EventType.objects.filter(tenant=tenant).update(tenant=other)
        assert EventType.objects.filter(id=theirs.id).update(description="x") == 0
        assert EventType.objects.filter(id=theirs.id).delete()[0] == 0
    assert EventType.objects.get(id=theirs.id).description == ""


def test_row_cannot_refer_to_a_row_of_another_tenant(tenant: Any, other: Tenant) -> None:
    event, run = Event.objects.get(tenant=tenant), make_run(other)
    with pytest.raises(IntegrityError, match="_tenant"), system_scope(), transaction.atomic():
        EventDelivery.objects.create(tenant=tenant, event=event, kind="wait", run=run)


def test_scope_ends_with_its_block_inside_a_transaction(tenant: Any, other: Tenant) -> None:
    with transaction.atomic():
        with tenant_scope(tenant.id):
            assert Event.objects.count() == 1
            with tenant_scope(other.id), transaction.atomic():
                assert Event.objects.get().tenant_id == other.id
            assert Event.objects.get().tenant_id == tenant.id
        with scope_of(NO_SCOPE):
            assert Event.objects.count() == 0
        assert Event.objects.filter(tenant__in=[tenant, other]).count() == 2


def test_scope_survives_an_error_and_its_rollback(tenant: Any, other: Tenant) -> None:
    with tenant_scope(tenant.id), transaction.atomic():
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 / 0")
        assert Event.objects.get().tenant_id == tenant.id


def test_scope_does_not_stay_on_the_connection(tenant: Any) -> None:
    with tenant_scope(tenant.id):
        Event.objects.count()
    raw = connection.connection.execute("SELECT current_setting('pointsman.tenant', true), current_user").fetchone()
    assert raw == ("", "pointsman_app")


def test_new_thread_has_no_scope(tenant: Any, other: Tenant) -> None:
    seen: list[Any] = []

    def read() -> None:
        seen.extend([current_scope(), Event.objects.count()])
        connections.close_all()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert seen == [NO_SCOPE, 0]


def test_token_scope_permits_only_this_token(tenant: Any, other: Tenant) -> None:
    wanted = token_hash(make_token(tenant))
    with scope_of(Scope(token_hash=wanted)):
        assert [row.token_hash for row in ApiToken.objects.all()] == [wanted]
        assert not Event.objects.exists()
        assert ApiToken.objects.update(name="x") == 0


def test_activity_has_the_scope_of_its_request(tenant: Any, other: Tenant) -> None:
    run = _releasing_connections(lambda request: set(Event.objects.values_list("tenant_id", flat=True)))
    assert run(SimpleNamespace(tenant_id=str(other.id))) == {other.id}


def test_scope_with_sql_is_refused(tenant: Any) -> None:
    with pytest.raises(ValueError, match="is not an id"), tenant_scope("x', true); DROP TABLE tenants; --"):
        Event.objects.count()


def test_definition_cannot_use_a_version_of_another_tenant(tenant: Any, other: Tenant) -> None:
    version = publish(other, {"id": "s", "type": "state.set", "config": {"state": "X"}})
    with pytest.raises(IntegrityError, match="_tenant"), transaction.atomic():
        Definition.objects.create(tenant=tenant, key="stolen", name="x", published_version=version)


def test_login_works_without_a_scope(tenant: Any) -> None:
    """Check the form, which reads memberships, and the next request, which reads the tenant."""
    from django.test import Client

    user = get_user_model().objects.create_user(f"member-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="viewer")
    with scope_of(NO_SCOPE):
        client = Client()
        form = {"login": user.username, "password": "a long passphrase"}
        assert client.post("/account/login/?next=/admin/", form).status_code == 302
        assert client.get("/admin/").status_code == 200
