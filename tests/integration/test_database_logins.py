"""Logins of the database: what each of them cannot do, and a check of all rights in PostgreSQL's catalogue.

Source: docs/administrators.md#database-logins
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import ConnectionHandler, DatabaseError, connections, transaction

from portal.database import login_check
from portal.database_router import SIGNIN, SIGNIN_APPS
from portal.database_router import SYSTEM as SYSTEM_ALIAS
from portal.devstack.errors import StackError
from portal.devstack.postgres import VARIABLES, require_passwords
from portal.env import ConfigError
from tests.support.database_rights import rights_violations
from workflows.models import TenantMembership

pytestmark = pytest.mark.usefixtures("database")

ROOT = Path(__file__).resolve().parents[2]
APP, SYSTEM, SIGN_IN = "DATABASE_URL", "DATABASE_SYSTEM_URL", "DATABASE_SIGNIN_URL"
SET_ROLE, NO_OBJECT, NO_SCHEMA = "permission denied to set role", "must be owner of", "permission denied for schema"
NO_TABLE, NO_FUNCTION = "permission denied for table", "permission denied for function"

# Login, statement, refusal of PostgreSQL.
ATTACKS = [
    # another role
    *((APP, f"SET ROLE {role}", SET_ROLE) for role in ("pointsman_system", "pointsman_signin", "pointsman_owner")),
    (APP, "SET ROLE postgres", SET_ROLE),
    (APP, "SELECT set_config('role', 'pointsman_system', true); SELECT * FROM tenants", SET_ROLE),
    (APP, "SET SESSION AUTHORIZATION pointsman_system", "permission denied to set session authorization"),
    (APP, "ALTER ROLE pointsman_app SUPERUSER", "permission denied to alter role"),
    (APP, "ALTER ROLE pointsman_app BYPASSRLS", "permission denied to alter role"),
    (APP, "ALTER ROLE pointsman_signin PASSWORD 'mine'", "permission denied to alter role"),
    (APP, "CREATE ROLE intruder LOGIN SUPERUSER", "permission denied to create role"),
    (APP, "GRANT pointsman_system TO pointsman_app", "permission denied to grant role"),
    (APP, "SELECT rolpassword FROM pg_authid", "permission denied for table pg_authid"),
    (SYSTEM, "SET ROLE pointsman_owner", SET_ROLE),
    (SYSTEM, "SET ROLE pointsman_signin", SET_ROLE),
    (SYSTEM, "GRANT pointsman_app TO pointsman_signin", "permission denied to grant role"),
    (SIGN_IN, "SET ROLE pointsman_app", SET_ROLE),
    # objects with the names of others
    (APP, "CREATE TEMPORARY TABLE tenants (id uuid)", "permission denied to create temporary tables"),
    (APP, "CREATE TABLE public.intruder (id uuid)", NO_SCHEMA),
    (APP, "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", NO_SCHEMA),
    (APP, "CREATE SCHEMA intruder", "permission denied for database"),
    (APP, "CREATE EXTENSION pg_stat_statements", "permission denied to create extension|is not available"),
    # functions
    (APP, "SELECT workflow_ledger_prune(gen_random_uuid(), 1, false)", NO_FUNCTION),
    (APP, "SELECT workflow_audit_link()", NO_FUNCTION),
    (SIGN_IN, "SELECT workflow_problem_counts('{}')", NO_FUNCTION),
    (APP, "SELECT pg_read_file('/etc/passwd')", NO_FUNCTION),
    *(
        (login, f"SELECT {call}", NO_FUNCTION)
        for login in (APP, SYSTEM, SIGN_IN)
        for call in ("lo_create(0)", "lo_creat(-1)", "lo_from_bytea(0, 'x')")
    ),
    (APP, "COPY tenants TO PROGRAM 'true'", "permission denied to COPY to or from an external program"),
    # protection of rows
    (APP, "ALTER TABLE workflow_runs DISABLE ROW LEVEL SECURITY", NO_OBJECT),
    (APP, "DROP POLICY tenant_isolation ON workflow_runs", NO_OBJECT),
    (APP, "ALTER TABLE workflow_runs DISABLE TRIGGER ALL", NO_OBJECT),
    (APP, "TRUNCATE workflow_runs CASCADE", NO_TABLE),
    (APP, "SET session_replication_role = replica", "permission denied to set parameter"),
    (APP, "UPDATE workflow_commands SET reason = 'another'", NO_TABLE),
    (APP, "DELETE FROM workflow_command_entries", NO_TABLE),
    (APP, "DELETE FROM sign_in_records", NO_TABLE),
    *((login, "INSERT INTO sign_in_records DEFAULT VALUES", NO_TABLE) for login in (APP, SYSTEM)),
    (APP, "DELETE FROM django_migrations", NO_TABLE),
    (APP, "DELETE FROM tenants", NO_TABLE),
    (APP, "LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE", NO_TABLE),
    (APP, "UPDATE tenants SET slug = 'another'", NO_TABLE),
    *(
        (APP, statement, NO_TABLE)
        for table in (
            "workflow_runtime_events",
            "workflow_definition_versions",
            "workflow_action_invocations",
            "api_tokens",
        )
        for statement in (f"DELETE FROM {table}", f"LOCK TABLE {table} IN SHARE MODE")
    ),
    # accounts and passwords
    *(
        (login, f"UPDATE auth_user SET {change}", NO_TABLE)
        for login in (APP, SYSTEM)
        for change in ("password = 'mine'", "is_superuser = true", "is_staff = true", "is_active = true", "email = ''")
    ),
    (APP, "INSERT INTO auth_user (username, is_superuser) VALUES ('intruder', true)", NO_TABLE),
    (APP, "DELETE FROM auth_user", NO_TABLE),
    *((login, "SELECT password FROM auth_user", NO_TABLE) for login in (APP, SYSTEM)),
    (APP, "SELECT * FROM auth_user", NO_TABLE),
    (APP, "SELECT auth_user::text FROM auth_user", NO_TABLE),
    (APP, "SELECT 1 FROM auth_user WHERE password LIKE 'pbkdf2%'", NO_TABLE),
    (APP, "COPY auth_user TO STDOUT", NO_TABLE),
    # the login of sign-in has no row of a tenant
    (SIGN_IN, "SELECT * FROM tenants", NO_TABLE),
    (SIGN_IN, "SELECT * FROM workflow_runs", NO_TABLE),
    (SIGN_IN, "SELECT * FROM sign_in_records", NO_TABLE),
    (SIGN_IN, "UPDATE tenant_memberships SET role = 'admin'", NO_TABLE),
    (SIGN_IN, "CREATE TEMPORARY TABLE auth_user (id int)", "permission denied to create temporary tables"),
]


@pytest.mark.parametrize(("login", "statement", "refusal"), ATTACKS, ids=lambda value: str(value)[:60])
def test_attack_is_refused(login: str, statement: str, refusal: str) -> None:
    with psycopg.connect(os.environ[login]) as attacker, pytest.raises(psycopg.Error, match=refusal):
        attacker.execute(statement)


@pytest.mark.parametrize("login", [APP, SYSTEM])
def test_every_table_of_sign_in_is_closed_to_other_logins(login: str) -> None:
    tables = {
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label in SIGNIN_APPS
    } - {"auth_user"}
    assert {"django_session", "account_emailaddress"} <= tables
    for table in tables:
        for statement in (f"SELECT * FROM {table}", f"DELETE FROM {table}", f"INSERT INTO {table} DEFAULT VALUES"):
            with psycopg.connect(os.environ[login]) as attacker, pytest.raises(psycopg.Error, match=NO_TABLE):
                attacker.execute(statement)


# -- Catalogue --------------------------------------------------------------------------------------------------------


@pytest.fixture
def owner_cursor() -> Iterator[Any]:
    """Return a cursor of the owner in a transaction that is rolled back."""
    with transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        yield cursor
        transaction.set_rollback(True, using="owner")


def test_rights_in_the_catalogue_follow_the_rules(owner_cursor: Any) -> None:
    assert rights_violations(owner_cursor) == []


BROKEN_RULES = [
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION f() TO PUBLIC",
     ["f: the function can be called by PUBLIC; see rights.py"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
     ["f: a SECURITY DEFINER function needs SET search_path = pg_catalog, public, pg_temp"]),
    ("CREATE TABLE loose (id int); GRANT SELECT ON loose TO PUBLIC",
     ["loose: PUBLIC has SELECT, which differs from rights.py"]),
    ("GRANT SELECT (password) ON auth_user TO pointsman_app",
     ["auth_user: pointsman_app has SELECT password, which differs from rights.py"]),
    ("REVOKE UPDATE ON tenants FROM pointsman_system",
     ["tenants: pointsman_system does not have UPDATE, which differs from rights.py"]),
    ("CREATE VIEW all_runs AS SELECT * FROM workflow_runs",
     ["all_runs: a view ignores row-level security; use a query"]),
    ("GRANT TEMPORARY ON DATABASE pointsman TO pointsman_signin",
     ["pointsman_signin: the role can create objects in the database"]),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "violations"), BROKEN_RULES, ids=lambda value: str(value)[:40])
def test_a_right_that_breaks_the_rules_is_found(owner_cursor: Any, statement: str, violations: list[str]) -> None:
    owner_cursor.execute(statement)
    assert rights_violations(owner_cursor) == violations


# -- Accounts ---------------------------------------------------------------------------------------------------------


def test_password_of_an_account_is_read_only_on_the_connection_of_sign_in(tenant: Any) -> None:
    user = get_user_model().objects.create_user(f"member-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="viewer")
    joined = TenantMembership.objects.select_related("user").get(tenant=tenant).user
    assert (joined.username, joined.password) == (user.username, None)
    with pytest.raises(DatabaseError, match="null value in column"), transaction.atomic(using=SIGNIN):
        joined.save()
    loaded = get_user_model().objects.get(pk=user.pk)
    assert (loaded._state.db, loaded.check_password("a long passphrase")) == (SIGNIN, True)


# -- Missing URLs -----------------------------------------------------------------------------------------------------


def run(*command: str, without: str = "", typed: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != without} | variables
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=env,
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("command", "variable"),
    [
        (["manage.py", "tenant", "list"], "DATABASE_SYSTEM_URL"),
        (["manage.py", "create_admin", "intruder"], "DATABASE_SIGNIN_URL"),
        (["manage.py", "migrate"], "DATABASE_OWNER_URL"),
        (["-m", "celery", "-A", "portal", "worker", "--pool", "solo"], "DATABASE_SYSTEM_URL"),
    ],
)
def test_a_missing_url_is_named(command: list[str], variable: str) -> None:
    done = run(*command, without=variable)
    assert done.returncode != 0
    assert f"{variable}: is not set, but this process needs its login" in done.stderr
    assert "Traceback" not in done.stderr
    assert set(VARIABLES) > {variable}


# -- Logins with too many rights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "login", "problem"),
    [
        ("DATABASE_URL", "postgres", "is a superuser or bypasses row-level security"),
        ("DATABASE_URL", "pointsman_owner", "owns the tables"),
        ("DATABASE_URL", "pointsman_signin", ""),
        ("DATABASE_SYSTEM_URL", "postgres", "is a superuser or bypasses row-level security"),
    ],
)
def test_a_login_with_too_many_rights_is_refused(servers: Any, variable: str, login: str, problem: str) -> None:
    command = (
        ["shell", "-c", "from portal.health import health_checks; print(health_checks()['database'])"]
        if variable == "DATABASE_URL"
        else ["tenant", "list"]
    )
    done = run("manage.py", *command, **{variable: servers.database_urls[login]})
    assert "Traceback" not in done.stderr
    if problem:
        assert f"{variable}: has the login {login}, which {problem}" in done.stdout + done.stderr
    else:  # it has no right to take the role of the application
        assert "permission denied to set role" in done.stdout


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a new connection of the system login without its settings, as behind PgBouncer."""
    monkeypatch.setattr(login_check, "_checked", set())
    config = deepcopy(connections[SYSTEM_ALIAS].settings_dict)
    del config["OPTIONS"]["options"]
    connection = ConnectionHandler({"default": config, SYSTEM_ALIAS: config}).create_connection(SYSTEM_ALIAS)
    yield connection
    connection.close()


def test_system_login_that_begins_with_the_rows_of_all_tenants_is_refused(
    pooled: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="DATABASE_SYSTEM_URL: has the login pointsman_system") as refusal:
        pooled.ensure_connection()
    assert pooled.connection is None
    (statement,) = re.findall(r"ALTER ROLE [^;]*", str(refusal.value))
    with psycopg.connect(os.environ[SYSTEM], autocommit=True) as login:  # a login may change its own settings
        login.execute(statement)
        try:
            pooled.ensure_connection()
        finally:
            login.execute("ALTER ROLE pointsman_system RESET role")
    assert pooled.connection is not None
    assert "DATABASE_SYSTEM_URL: the statements of the login pointsman_system have no time limit" in caplog.text


def test_passwords_of_the_embedded_server_are_private_and_needed(servers: Any) -> None:
    file = Path(os.environ["POINTSMAN_HOME"]) / "servers" / "postgres" / "passwords"
    assert file.stat().st_mode & 0o777 == 0o600
    url = os.environ[APP]
    without = url.replace(urlsplit(url).password or "", "")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(without)


def test_data_of_an_older_version_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
    with pytest.raises(StackError, match="is from an older version.*delete the folders `postgres`"):
        require_passwords(data)
