"""Refusal of a login that has more rights than its kind of process needs (docs/administrators.md#database-logins)."""

import logging
from typing import Any, NamedTuple

from django.conf import settings

from portal.database_router import SIGNIN, SYSTEM
from portal.env import ConfigError

logger = logging.getLogger(__name__)
_VARIABLES = {"default": "DATABASE_URL", SYSTEM: "DATABASE_SYSTEM_URL", SIGNIN: "DATABASE_SIGNIN_URL"}
_RIGHTS = """
SELECT session_user::text, login.rolsuper, login.rolbypassrls,
    (SELECT pg_has_role(session_user, relowner, 'MEMBER') FROM pg_class WHERE oid = to_regclass('public.tenants')),
    (SELECT array_agg(rolname::text) FROM pg_roles
        WHERE rolname = ANY(%s) AND rolname <> session_user AND pg_has_role(session_user, oid, 'MEMBER')),
    has_function_privilege(session_user, 'pg_catalog.lo_create(oid)', 'EXECUTE'), current_user::text,
    current_setting('statement_timeout') = '0'
FROM pg_roles AS login WHERE login.rolname = session_user
"""
_checked: set[tuple[str, str]] = set()


class _Rights(NamedTuple):
    """Rights of the login of a new connection. `role`: role with which its statements begin."""

    login: str
    is_superuser: bool
    bypasses_policies: bool
    is_owner: bool
    other_roles: list[str] | None
    makes_large_objects: bool
    role: str
    has_no_time_limit: bool


def refuse_powerful_login(connection: Any, **_kwargs: Any) -> None:
    """Refuse a new connection whose login is a superuser, owns the tables, or can take the rights of another login.

    Row-level security and the separation of sign-in protect nothing in such a process. The login of system work is also
    refused if its statements do not begin with the rights of the application. The right to create large objects and a
    missing time limit are only reported. Each login is checked once in each process. Migrations need the owner, so its
    connection is not checked.

    Errors: ConfigError. The operator must act.
    """
    settings_dict = connection.settings_dict
    if connection.alias not in _VARIABLES or (connection.alias, settings_dict["USER"]) in _checked:
        return
    is_system = settings_dict["USER"] == settings.DATABASES[SYSTEM].get("USER")
    variable = "DATABASE_SYSTEM_URL" if is_system else _VARIABLES[connection.alias]
    roles = [settings.DATABASE_SYSTEM_ROLE, settings.DATABASE_SIGNIN_ROLE]
    if variable != "DATABASE_SYSTEM_URL":  # its login takes the rights of the application for the work of one tenant
        roles.append(settings.DATABASE_APP_ROLE)
    found = _Rights(*connection.connection.execute(_RIGHTS, [roles]).fetchone())
    problem = _problem(found) or (_role_problem(found) if variable == "DATABASE_SYSTEM_URL" else "")
    if problem:
        connection.close()
        raise ConfigError(variable, f"has the login {found.login}, {problem}")
    _checked.add((connection.alias, settings_dict["USER"]))
    _warn(variable, found)


def _problem(found: _Rights) -> str:
    """Return why the login has too many rights, or an empty text."""
    if found.is_superuser or found.bypasses_policies:
        problem = "is a superuser or bypasses row-level security"
    elif found.is_owner:
        problem = "owns the tables"
    elif found.other_roles:
        problem = f"can become the role {found.other_roles[0]}"
    else:
        return ""
    return (
        f"which {problem}, so the database would not protect the rows of tenants and the passwords. Create a login for"
        " this kind of process; docs/administrators.md#database-logins shows how"
    )


def _role_problem(found: _Rights) -> str:
    """Return why a statement without a scope would find the rows of all tenants, or an empty text."""
    role = settings.DATABASE_APP_ROLE
    if found.role == role:
        return ""
    return (
        f"whose statements begin with the rights of {found.role} instead of {role}, so a statement without a tenant"
        " would find the rows of all tenants. A pool such as PgBouncer drops the setting that the portal gives a new"
        " connection. With this login, or as administrator of the database, run:"
        f" ALTER ROLE {found.login} SET role = '{role}'; then restart the pool. See"
        " docs/administrators.md#connections-and-pgbouncer"
    )


def _warn(variable: str, found: _Rights) -> None:
    if found.makes_large_objects:  # a managed server may not let its administrator revoke the right
        logger.warning(
            "%s: the login %s can create large objects, and no limit counts their bytes. The statement that revokes"
            " the right is in docs/administrators.md#create-the-logins",
            variable,
            found.login,
        )
    if found.has_no_time_limit:
        logger.warning(
            "%s: the statements of the login %s have no time limit, so a slow one can hold a connection for hours. The"
            " statement that sets the limit is in docs/administrators.md#connections-and-pgbouncer",
            variable,
            found.login,
        )
