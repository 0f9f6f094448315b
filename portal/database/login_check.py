"""Refusal of a login that has more rights than its kind of process needs (docs/administrators.md#database-logins)."""

import logging
from typing import Any

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
    has_function_privilege(session_user, 'pg_catalog.lo_create(oid)', 'EXECUTE')
FROM pg_roles AS login WHERE login.rolname = session_user
"""
_checked: set[tuple[str, str]] = set()


def refuse_powerful_login(connection: Any, **_kwargs: Any) -> None:
    """Refuse a new connection whose login is a superuser, owns the tables, or can take the rights of another login.

    Row-level security and the separation of sign-in protect nothing in such a process. The right to create large
    objects is only reported. Each login is checked once in each process. Migrations need the owner, so its connection
    is not checked.

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
    found = connection.connection.execute(_RIGHTS, [roles]).fetchone()
    login, is_superuser, bypasses, is_owner, others, makes_large_objects = found
    if is_superuser or bypasses:
        problem = "is a superuser or bypasses row-level security"
    elif is_owner:
        problem = "owns the tables"
    elif others:
        problem = f"can become the role {others[0]}"
    else:
        _checked.add((connection.alias, settings_dict["USER"]))
        if makes_large_objects:  # a managed server may not let its administrator revoke the right
            logger.warning(
                "%s: the login %s can create large objects, and no limit counts their bytes. The statement that revokes"
                " the right is in docs/administrators.md#create-the-logins",
                variable,
                login,
            )
        return
    connection.close()
    raise ConfigError(
        variable,
        f"has the login {login}, which {problem}, so the database would not protect the rows of tenants and the"
        " passwords. Create a login for this kind of process; docs/administrators.md#database-logins shows how",
    )
