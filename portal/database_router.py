"""Choice of the database connection for each model.

All connections lead to the same database, with different logins. Accounts, passwords, sessions and second factors are
read and written with the login of sign-in, which is the connection `signin`. Everything else uses `default`. The login
of `default` has no right to write the tables of sign-in.

A join from another table reads the columns of an account, except the password, through `default`.

A transaction of `default` does not include the connection `signin`. Code that creates an account and then a row that
refers to it commits the account first.
"""

from typing import Any

SIGNIN = "signin"
# Django's accounts, groups and permissions, its sessions, and the tables of django-allauth.
SIGNIN_APPS = frozenset({"auth", "sessions", "account", "socialaccount", "mfa", "usersessions"})


class LoginRouter:
    """Router that depends only on the model. So an object keeps no connection for the rows that refer to it."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return SIGNIN if model._meta.app_label in SIGNIN_APPS else "default"

    db_for_write = db_for_read

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Refuse the logins that own no tables. `manage.py migrate` uses the connection `owner`."""
        return False if db in {"default", SIGNIN} else None
