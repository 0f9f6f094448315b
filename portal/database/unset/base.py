"""Database backend of a login whose URL is not set. Each use raises an error that names the variable."""

from typing import Any, NoReturn

from django.db.backends.dummy import base

from portal.env import ConfigError

NEEDED_BY = {
    "DATABASE_SYSTEM_URL": "Celery workers and management commands",
    "DATABASE_SIGNIN_URL": "web processes and commands that change accounts",
    "DATABASE_OWNER_URL": "`manage.py migrate`",
}


class DatabaseOperations(base.DatabaseOperations):
    def quote_name(self, name: str) -> NoReturn:
        raise _is_not_set(self.connection.settings_dict["NAME"])


class DatabaseWrapper(base.DatabaseWrapper):
    """Connection that cannot be opened. Errors: ConfigError at each use. The operator must set the variable."""

    ops_class = DatabaseOperations

    def ensure_connection(self) -> NoReturn:
        raise _is_not_set(self.settings_dict["NAME"])

    def _cursor(self, name: Any = None) -> NoReturn:
        raise _is_not_set(self.settings_dict["NAME"])


def _is_not_set(variable: str) -> ConfigError:
    return ConfigError(
        variable,
        f"is not set, but this process needs its login. {NEEDED_BY[variable]} use it. Set it to the URL of the login;"
        " docs/administrators.md#database-logins lists all logins",
    )
