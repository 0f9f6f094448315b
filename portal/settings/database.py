"""PostgreSQL settings: roles, one URL for each login, time limits, and the connections."""

from itertools import combinations
from typing import Any

import dj_database_url

from portal.devstack import postgres
from portal.env import ConfigError, env, matching
from portal.settings.environment import POINTSMAN_HOME, required_in_production

POSTGRES_PORT = env.port("POSTGRES_PORT", 15432, "port of the embedded PostgreSQL")

ROLE_NAME = matching(r"[a-z_][a-z0-9_]*", "a name of small letters, digits and _")
DATABASE_APP_ROLE: str = env.parsed(
    "DATABASE_APP_ROLE",
    postgres.APPLICATION,
    ROLE_NAME,
    "database role of the application: web processes and Temporal workers; it sees the rows of one tenant at a time",
)
DATABASE_SYSTEM_ROLE: str = env.parsed(
    "DATABASE_SYSTEM_ROLE",
    postgres.SYSTEM,
    ROLE_NAME,
    "database role of Celery tasks and management commands; it sees the rows of all tenants",
)
DATABASE_SIGNIN_ROLE: str = env.parsed(
    "DATABASE_SIGNIN_ROLE",
    postgres.SIGNIN,
    ROLE_NAME,
    "database role of sign-in; only it reads passwords and sessions, and only it writes accounts",
)
ROLES = {
    "DATABASE_APP_ROLE": DATABASE_APP_ROLE,
    "DATABASE_SYSTEM_ROLE": DATABASE_SYSTEM_ROLE,
    "DATABASE_SIGNIN_ROLE": DATABASE_SIGNIN_ROLE,
}
for _name, _other in combinations(ROLES, 2):
    if ROLES[_name] == ROLES[_other]:
        raise ConfigError(
            _other, f"is {ROLES[_other]!r}, as {_name}; one login would have the rights of both, so use two roles"
        )

# Each kind of process has a login of its own (docs/administrators.md#database-logins).
DATABASE_URL = required_in_production(
    "DATABASE_URL",
    env.secret(
        "DATABASE_URL",
        "PostgreSQL with the login of the application: `postgresql://user:password@host:port/name`; if not set, the"
        " embedded PostgreSQL",
    ),
    "",
)
DATABASE_LOGIN_URLS = {
    "DATABASE_URL": DATABASE_URL,
    "DATABASE_SYSTEM_URL": env.secret(
        "DATABASE_SYSTEM_URL",
        "PostgreSQL with the login of `DATABASE_SYSTEM_ROLE`; Celery workers and management commands need it",
    ),
    "DATABASE_SIGNIN_URL": env.secret(
        "DATABASE_SIGNIN_URL",
        "PostgreSQL with the login of `DATABASE_SIGNIN_ROLE`; web processes need it, and commands that change accounts",
    ),
    "DATABASE_OWNER_URL": env.secret(
        "DATABASE_OWNER_URL", "PostgreSQL with the login that owns the tables; only `manage.py migrate` needs it"
    ),
}
if not DATABASE_URL:
    # The embedded PostgreSQL has a generated password for each login.
    for _variable, _login in postgres.VARIABLES.items():
        DATABASE_LOGIN_URLS[_variable] = DATABASE_LOGIN_URLS[_variable] or postgres.url(
            POINTSMAN_HOME, POSTGRES_PORT, _login
        )
DATABASE_POOL = env.flag(
    "DATABASE_POOL",
    False,
    "use psycopg's connection pool; for web processes and Temporal workers only, not for Celery prefork",
)

DATABASE_STATEMENT_TIMEOUT_SECONDS = env.number(
    "DATABASE_STATEMENT_TIMEOUT_SECONDS",
    30,
    "time limit of one SQL statement in seconds, including the wait for locks; migrations have no limit",
    low=1,
    high=100,
)
# With these values, a connection to a dead host fails within 30 s. With TCP's default values, it fails 15 minutes after
# a send, or after 2 hours without a send.
_DEAD_PEER = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def _database(variable: str, *, role: str = "", pool: bool = False, statement_seconds: float = 0) -> dict[str, Any]:
    if not DATABASE_LOGIN_URLS[variable]:
        return {"ENGINE": "portal.database.unset", "NAME": variable}
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(DATABASE_LOGIN_URLS[variable], conn_health_checks=True))
    except ValueError as error:
        raise ConfigError(variable, f"is not a valid URL: {error}") from error
    if config.get("ENGINE") != "django.db.backends.postgresql":
        raise ConfigError(variable, "must be a PostgreSQL URL (postgresql://...)")
    options = config["OPTIONS"] = {**_DEAD_PEER, **config.get("OPTIONS", {})}
    options["connect_timeout"] = 5
    options["application_name"] = "pointsman"
    session = {"role": role, "statement_timeout": int(statement_seconds * 1000)}
    if any(session.values()):
        options["options"] = " ".join(f"-c {name}={value}" for name, value in session.items() if value)
    # Each statement sets its tenant (workflows/tenancy.py). A later fetch from a server-side cursor would not set the
    # tenant.
    config["DISABLE_SERVER_SIDE_CURSORS"] = True
    if pool:
        options["pool"] = {"min_size": 1, "max_size": 32, "timeout": 10}
    else:
        config["CONN_MAX_AGE"] = 300
    return config


_LIMITS: dict[str, Any] = {"pool": DATABASE_POOL, "statement_seconds": DATABASE_STATEMENT_TIMEOUT_SECONDS}
# `default` has the login of the application. A process for all tenants replaces it by `system` before its first query
# (`use_system_login`). `signin` is a second connection for accounts, passwords and sessions
# (portal/database_router.py). Only migrations use `owner`.
DATABASES = {
    "default": _database("DATABASE_URL", **_LIMITS),
    "system": _database("DATABASE_SYSTEM_URL", role=DATABASE_APP_ROLE, **_LIMITS),
    "signin": _database("DATABASE_SIGNIN_URL", **_LIMITS),
    "owner": _database("DATABASE_OWNER_URL"),
}
DATABASE_ROUTERS = ["portal.database_router.LoginRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
