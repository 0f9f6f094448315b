"""The roles of the logins: they must exist, and they must not have more rights than their kind of process needs."""

from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

# (setting with the name of the role, variable with the URL of its login)
LOGINS = (
    ("DATABASE_APP_ROLE", "DATABASE_URL"),
    ("DATABASE_SYSTEM_ROLE", "DATABASE_SYSTEM_URL"),
    ("DATABASE_SIGNIN_ROLE", "DATABASE_SIGNIN_URL"),
)
ATTRIBUTES = "NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION"


def roles_ensure(connection: Any) -> None:
    """Create the logins that are missing, with the passwords of their URLs. The connection has the login of the owner.

    Errors: CommandError if the owner may not create a login, or if its URL is not set. The operator must act.
    """
    with connection.cursor() as cursor:
        for setting, variable in LOGINS:
            role = getattr(settings, setting)
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
            if cursor.fetchone() is None:
                _create(connection, cursor, role, variable)
        app, system = settings.DATABASE_APP_ROLE, settings.DATABASE_SYSTEM_ROLE
        if (system, app) not in memberships(cursor):
            _execute(cursor, f'GRANT "{app}" TO "{system}"', f"{system} is not a member of {app}")


def memberships(cursor: Any) -> set[tuple[str, str]]:
    """Return the pairs (member, role) of all roles."""
    cursor.execute("SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members")
    return {(member.strip('"'), role.strip('"')) for member, role in cursor.fetchall()}


def _create(connection: Any, cursor: Any, role: str, variable: str) -> None:
    statement, problem = f'CREATE ROLE "{role}" LOGIN {ATTRIBUTES}', f"the login {role} does not exist"
    password = unquote(urlsplit(settings.DATABASE_LOGIN_URLS[variable]).password or "")
    if not password:
        raise CommandError(
            f"In the database server, {problem}, and {variable} is not set to a URL with its password. Nothing was"
            f" changed. Set {variable}, or ask the administrator of the server to run: {statement} PASSWORD '...'"
        )
    raw = connection.connection.pgconn
    verifier = raw.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    _execute(cursor, statement, problem, secret=f" PASSWORD '{verifier}'")


def _execute(cursor: Any, statement: str, problem: str, *, secret: str = "") -> None:
    try:
        cursor.execute(statement + secret)
    except DatabaseError as error:
        shown = f"{statement} PASSWORD '...'" if secret else statement
        raise CommandError(
            f"In the database server, {problem}, and the login of DATABASE_OWNER_URL may not change this: {error}. Ask"
            f" the administrator of the server to run: {shown}"
        ) from error
