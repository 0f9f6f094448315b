"""Scope of the rows that a statement may see (docs/reference/administration.md#tenants-and-roles).

The application filters by tenant in its queries. Row-level security in PostgreSQL is the second protection. If a query
has no filter by tenant, it still finds no row of another tenant.

- The database logins own nothing. Each statement carries its role and its tenant in the same message.
  Role and tenant are local to the transaction, so nothing stays on a pooled connection.
- Without a scope, a statement sees no row of any tenant.
- A scope is entered where work begins: in a request, a Celery task, an activity or a command.
- Work for all tenants (sweep, reconciler, retention) uses `system_scope`, which has a separate database role. Only the
  login of this role can use it. A Celery worker or a command calls `use_system_login` first. In a tenant scope, this
  login works with the rights of the application's role.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connections

TENANT_SETTING, USER_SETTING, TOKEN_SETTING = "pointsman.tenant", "pointsman.user", "pointsman.token_hash"
SUPERUSER_SETTING = "pointsman.superuser"
# These statements are sent without a scope, for one of three reasons. They end a transaction. They return to a
# savepoint, possibly after an error, when PostgreSQL accepts no other statement. Or they must be the first statement in
# a transaction.
_CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "BEGIN", "SET TRANSACTION")


@dataclass(frozen=True)
class Scope:
    """Rows that statements may see.

    `user` and `token_hash` permit only the queries that find the tenant. With `user`, these are the memberships of the
    user. With `token_hash`, it is one API token. With `superuser`, the id of a superuser, the rows of the table of
    tenants can be read, but no other rows of these tenants.
    """

    tenant: str = ""
    user: str = ""
    token_hash: str = ""
    superuser: str = ""
    is_system: bool = False


NO_SCOPE = Scope()
_current: ContextVar[Scope] = ContextVar("scope", default=NO_SCOPE)


def current_scope() -> Scope:
    return _current.get()


def enter_scope(scope: Scope) -> None:
    """Set the scope for the rest of this context. An example is a request after its authentication."""
    _current.set(scope)


@contextmanager
def scope_of(scope: Scope) -> Iterator[None]:
    """Use a scope inside a `with` block."""
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def tenant_scope(tenant_id: Any) -> Any:
    """Limit the statements of a `with` block to the rows of one tenant."""
    return scope_of(Scope(tenant=str(tenant_id)))


def system_scope() -> Any:
    """Permit the rows of all tenants in a `with` block. Only sweep, reconciler, retention and commands use it.

    In a process with the login of the application, PostgreSQL refuses each statement of the block.
    """
    return scope_of(Scope(is_system=True))


def use_system_login() -> None:
    """Use the login of system work for the database `default` in this process. Call it before the first query.

    Celery workers and management commands call it. Web processes and Temporal workers keep the login of the
    application, which cannot become another role.

    Errors: ConfigError if DATABASE_SYSTEM_URL is not set. The operator must act.
    """
    default, system = connections["default"], connections["system"]
    if system.vendor != default.vendor:
        system.ensure_connection()  # the variable is not set, and the error names it
    if default.settings_dict["USER"] != system.settings_dict["USER"]:
        default.close()
        default.settings_dict.update(deepcopy(system.settings_dict))


def with_scope(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Send the scope before a statement, in the same message and transaction. This is a Django execute wrapper.

    Errors: NotImplementedError for `executemany`. The author of the call must write one statement.
    """
    if str(sql).startswith(_CONTROL):
        return execute(sql, params, many, context)
    prefix = _prefix(_current.get())
    if many:
        raise NotImplementedError("executemany cannot carry the tenant of its statements; write one statement")
    result = execute(f"{prefix}; {sql}", params, many, context)
    context["cursor"].nextset()
    return result


def _prefix(scope: Scope) -> str:
    role = settings.DATABASE_SYSTEM_ROLE if scope.is_system else settings.DATABASE_APP_ROLE
    values = {
        "role": role,
        TENANT_SETTING: scope.tenant,
        USER_SETTING: scope.user,
        TOKEN_SETTING: scope.token_hash,
        SUPERUSER_SETTING: scope.superuser,
    }
    parts = (f"set_config('{name}', '{_safe(value)}', true)" for name, value in values.items())
    return f"SELECT {', '.join(parts)}"


def _safe(value: str) -> str:
    """Return an id, hash or role name. It becomes part of the statement's text, not a parameter."""
    if not all(character.isalnum() or character in "-_" for character in value):
        raise ValueError(f"{value!r} is not an id")
    return value
