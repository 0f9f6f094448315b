"""Whose rows a statement may see: the tenant of the work at hand, told to PostgreSQL with every statement (docs/reference/administration.md#tenants-and-roles).

Row-level security stands behind the application's own scoping: a query that forgot its tenant finds nothing of another. The
database connects as a role that owns nothing; each statement carries, in the same message, the role that it runs as and
the tenant, both local to its transaction, so that nothing stays on a pooled connection. Without a scope a statement sees no
row of any tenant: it fails closed.

Scopes are entered where work begins: a request (its session or token), a Celery task, an activity, a command. Work on
behalf of all tenants (the sweep, the reconciler, retention) says so with `system_scope` and runs as a role of its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.conf import settings

TENANT_SETTING, USER_SETTING, TOKEN_SETTING = "pointsman.tenant", "pointsman.user", "pointsman.token_hash"
# They end a transaction, go back within one (possibly after an error, when no other statement would be taken), or must come
# first in one.
_CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "BEGIN", "SET TRANSACTION")


@dataclass(frozen=True)
class Scope:
    """`user` and `token_hash` open only the look-up that comes before the tenant: one's memberships, or one token."""

    tenant: str = ""
    user: str = ""
    token_hash: str = ""
    is_system: bool = False


NOBODY = Scope()
_current: ContextVar[Scope] = ContextVar("scope", default=NOBODY)


def current_scope() -> Scope:
    return _current.get()


def enter_scope(scope: Scope) -> None:
    """For the rest of this context: of a request, when its caller has become known."""
    _current.set(scope)


@contextmanager
def scope_of(scope: Scope) -> Iterator[None]:
    token = _current.set(scope)
    try:
        yield
    finally:
        _current.reset(token)


def tenant_scope(tenant_id: Any) -> Any:
    """Rows of this tenant only."""
    return scope_of(Scope(tenant=str(tenant_id)))


def system_scope() -> Any:
    """Rows of all tenants. Only for what works for all of them: the sweep, the reconciler, retention, commands."""
    return scope_of(Scope(is_system=True))


def with_scope(execute: Any, sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """A wrapper of Django's: the scope travels before the statement, in the same message and the same transaction."""
    if str(sql).startswith(_CONTROL):
        return execute(sql, params, many, context)
    prefix = _prefix(_current.get())
    if many:
        raise NotImplementedError("executemany cannot carry its tenant; write one statement")
    result = execute(f"{prefix}; {sql}", params, many, context)
    context["cursor"].nextset()
    return result


def _prefix(scope: Scope) -> str:
    role = settings.DATABASE_SYSTEM_ROLE if scope.is_system else settings.DATABASE_APP_ROLE
    given = {"role": role, TENANT_SETTING: scope.tenant, USER_SETTING: scope.user, TOKEN_SETTING: scope.token_hash}
    parts = (f"set_config('{name}', '{_safe(value)}', true)" for name, value in given.items())
    return f"SELECT {', '.join(parts)}"


def _safe(value: str) -> str:
    """Ids, hashes and role names only; they stand in the statement's text, beside the parameters of the caller."""
    if not all(character.isalnum() or character in "-_" for character in value):
        raise ValueError(f"{value!r} is no id")
    return value
