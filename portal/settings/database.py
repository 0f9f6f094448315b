"""PostgreSQL settings: address, roles, time limits, and the two connections."""

import re
from typing import Any

import dj_database_url

from portal.env import ConfigError, env, matching
from portal.settings.environment import required_in_production

POSTGRES_PORT = env.port("POSTGRES_PORT", 15432, "port of the embedded PostgreSQL")

DATABASE_URL = required_in_production(
    "DATABASE_URL",
    env.secret(
        "DATABASE_URL", "PostgreSQL: `postgresql://user:password@host:port/name`; if not set, the embedded PostgreSQL"
    ),
    f"postgresql://postgres@127.0.0.1:{POSTGRES_PORT}/pointsman",
)
DATABASE_APP_ROLE: str = env.parsed(
    "DATABASE_APP_ROLE",
    "pointsman_app",
    matching(r"[a-z_][a-z0-9_]*", "a name of small letters, digits and _"),
    "database role of the application; it cannot truncate or alter tables",
)
DATABASE_SYSTEM_ROLE: str = env.parsed(
    "DATABASE_SYSTEM_ROLE",
    "pointsman_system",
    matching(r"[a-z_][a-z0-9_]*", "a name of small letters, digits and _"),
    "database role of sweep, reconciler and management commands; it sees the rows of all tenants",
)
DATABASE_SIGNIN_ROLE: str = env.parsed(
    "DATABASE_SIGNIN_ROLE",
    "pointsman_signin",
    matching(r"[a-z_][a-z0-9_]*", "a name of small letters, digits and _"),
    "database role of sign-in; only it reads passwords and sessions, and only it writes accounts",
)
DATABASE_SIGNIN_URL = env.secret(
    "DATABASE_SIGNIN_URL", "PostgreSQL with the login of sign-in, which is `DATABASE_SIGNIN_ROLE`"
)
if not DATABASE_SIGNIN_URL:
    DATABASE_SIGNIN_URL = re.sub(r"://[^@]*@", f"://{DATABASE_SIGNIN_ROLE}@", DATABASE_URL)
if DATABASE_SYSTEM_ROLE == DATABASE_APP_ROLE:
    raise ConfigError(
        "DATABASE_SYSTEM_ROLE",
        f"is {DATABASE_SYSTEM_ROLE!r}, as DATABASE_APP_ROLE; every tenant would see all rows, so use two roles",
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


def _database(
    variable: str, url: str, *, role: str = "", pool: bool = False, statement_seconds: float = 0
) -> dict[str, Any]:
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url, conn_health_checks=True))
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


# `default` uses the application's role. `signin` is a second connection for accounts, passwords and sessions
# (portal/database_router.py). `owner` uses the role of the login itself, and only migrations use `owner`.
DATABASES = {
    "default": _database(
        "DATABASE_URL",
        DATABASE_URL,
        role=DATABASE_APP_ROLE,
        pool=DATABASE_POOL,
        statement_seconds=DATABASE_STATEMENT_TIMEOUT_SECONDS,
    ),
    "signin": _database(
        "DATABASE_SIGNIN_URL",
        DATABASE_SIGNIN_URL,
        pool=DATABASE_POOL,
        statement_seconds=DATABASE_STATEMENT_TIMEOUT_SECONDS,
    ),
    "owner": _database("DATABASE_URL", DATABASE_URL),
}
DATABASE_ROUTERS = ["portal.database_router.LoginRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
