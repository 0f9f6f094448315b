"""New accounts of people. A name belongs to one account, in each spelling of its letters."""

from typing import Any

from django.db import router

from workflows.database_errors import unique_or
from workflows.errors import Conflict

NAME_TAKEN = "The user name is taken. Choose another name."


def account_save(account: Any) -> None:
    """Insert an account on the connection of sign-in. The database decides whether its name is free.

    Errors: Conflict ACCOUNT_NAME_TAKEN if an account has the name, or a name that differs only in upper and lower case.
    """
    with unique_or(Conflict(NAME_TAKEN, code="ACCOUNT_NAME_TAKEN"), using=router.db_for_write(type(account))):
        account.save(force_insert=True)
