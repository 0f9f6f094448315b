"""Choice of the database connection for each model.

All connections lead to the same database, with different logins. Accounts, passwords, sessions and second factors are
read and written with the login of sign-in, which is the connection `signin`. Everything else uses `default`. The login
of `default` has no right to write the tables of sign-in.

A query of another table may join the accounts through `default`. Then it reads all columns except the password, which
is None (`hide_passwords`).

Rows of the audit log of sign-ins are written with the login of sign-in, and read with `default`. So the login of the
application cannot forge a row.

A transaction of `default` does not include the connection `signin`. Code that creates an account and then a row that
refers to it commits the account first.
"""

from typing import Any

SIGNIN, SYSTEM, OWNER = "signin", "system", "owner"
# Django's accounts, groups and permissions, its sessions, and the tables of django-allauth.
SIGNIN_APPS = frozenset({"auth", "sessions", "account", "socialaccount", "mfa", "usersessions"})


SIGN_IN_RECORD = "workflows.signinrecord"


class LoginRouter:
    """Router that depends only on the model. So an object keeps no connection for the rows that refer to it."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return SIGNIN if model._meta.app_label in SIGNIN_APPS else "default"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return SIGNIN if model._meta.label_lower == SIGN_IN_RECORD else self.db_for_read(model)

    def allow_relation(self, *objects: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Refuse the logins that own no tables. `manage.py migrate` uses the connection `owner`."""
        return False if db in {"default", SYSTEM, SIGNIN} else None


def hide_passwords(account_model: Any) -> None:
    """Select NULL for the password of an account, except on the connections of sign-in and of the owner.

    Only these logins may read the column. Without this, each join with the accounts would have to leave it out. An
    attempt to save such an account fails, because the column does not accept NULL.
    """

    def select_format(compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        return (sql, params) if compiler.connection.alias in {SIGNIN, OWNER} else ("NULL", [])

    account_model._meta.get_field("password").select_format = select_format
