"""An owner that is no superuser migrates an empty database, and creates the other logins if it may create roles.

Source: docs/administrators.md#create-the-logins
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from portal.devstack.servers import Servers
from tests.integration.test_database_logins import run

NAME, PASSWORD = "owned", "p@ss/word"
ROLES = {kind: f"{NAME}_{kind}" for kind in ("app", "system", "signin", "owner")}
VARIABLES = {"app": "DATABASE_URL", "system": "DATABASE_SYSTEM_URL", "signin": "DATABASE_SIGNIN_URL"}
# Each login connects in one process: the application, the system login that creates a tenant, and sign-in.
USE = """
from django.core.management import call_command
from portal.health import health_checks
print(health_checks()["database"])
call_command("tenant", "create", "north-desk", "--name", "North desk")
call_command("create_admin", "maya")
"""


@pytest.fixture
def server(servers: Servers) -> Iterator[psycopg.Connection]:
    """Return a connection of the superuser. An empty database belongs to an owner that may not create roles."""
    with psycopg.connect(servers.database_urls["postgres"], autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {ROLES['owner']} LOGIN PASSWORD '{PASSWORD}'")
        connection.execute(f"CREATE DATABASE {NAME} OWNER {ROLES['owner']}")
        try:
            yield connection
        finally:
            connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
            for role in ("system", "signin", "app", "owner"):
                connection.execute(f"DROP ROLE IF EXISTS {ROLES[role]}")


def test_owner_without_superuser_right_migrates_and_creates_the_logins(
    servers: Servers, server: psycopg.Connection
) -> None:
    address = urlsplit(servers.database_urls["postgres"])
    urls = {
        kind: f"postgresql://{role}:p%40ss%2Fword@{address.hostname}:{address.port}/{NAME}"
        for kind, role in ROLES.items()
    }
    variables = {
        "DATABASE_OWNER_URL": urls["owner"],
        **{variable: urls[kind] for kind, variable in VARIABLES.items()},
        **{f"DATABASE_{kind.upper()}_ROLE": ROLES[kind] for kind in VARIABLES},
    }
    refused = run("manage.py", "migrate", **variables)
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert f'CREATE ROLE "{ROLES["app"]}" LOGIN NOINHERIT NOSUPERUSER' in refused.stderr
    assert PASSWORD not in refused.stderr

    server.execute(f"ALTER ROLE {ROLES['owner']} CREATEROLE")
    migrated = run("manage.py", "migrate", "--verbosity", "0", **variables)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    used = run("manage.py", "shell", "-v", "0", "-c", USE, typed="a long enough phrase\n", **variables)
    assert (used.returncode, "Traceback" in used.stderr) == (0, False), used.stderr
    assert used.stdout.splitlines()[0] == "ok"
    assert "The administrator maya exists" in used.stdout
