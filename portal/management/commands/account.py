"""`manage.py account list|deactivate|activate|password`: accounts (docs/reference/administration.md#accounts).

Superusers do the same on the page "Accounts".
"""

from typing import Any

from django.contrib.auth import get_user_model, password_validation
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from portal.database_router import SIGNIN
from portal.management.commands.create_admin import read_password
from workflows.errors import InputInvalid
from workflows.management.subcommands import SubcommandsCommand
from workflows.services.sign_in_records import Origin, sign_in_record
from workflows.sign_in_kinds import SignInKind


def _add_nothing(parser: CommandParser) -> None:
    """Add no argument."""


def _add_name(parser: CommandParser) -> None:
    parser.add_argument("username")


class Command(SubcommandsCommand):
    help = "List accounts, deactivate and activate them, and set a password."
    arguments = {"list": _add_nothing, "deactivate": _add_name, "activate": _add_name, "password": _add_name}

    def do_list(self, options: dict[str, Any]) -> None:
        for account in get_user_model().objects.order_by("username"):
            state = "active" if account.is_active else "deactivated"
            kind = "superuser" if account.is_superuser else "account"
            self.stdout.write(f"{state:11}  {kind:9}  {account}  {account.email}".rstrip())

    def do_deactivate(self, options: dict[str, Any]) -> None:
        self._switch(options, is_active=False)

    def do_activate(self, options: dict[str, Any]) -> None:
        self._switch(options, is_active=True)

    def do_password(self, options: dict[str, Any]) -> None:
        account = _find(options["username"])
        if not account.has_usable_password():
            raise CommandError(
                f"{account} signs in through an identity provider, so it has no password. Nothing was changed."
            )
        password = read_password()
        try:
            password_validation.validate_password(password, account)
        except ValidationError as error:
            raise CommandError(f"{' '.join(error.messages)} Nothing was changed.") from error
        account.set_password(password)
        with transaction.atomic(using=SIGNIN):  # no change without its row in the log of sign-ins
            account.save(update_fields=["password"])
            sign_in_record(kind=SignInKind.PASSWORD_CHANGED, account=account, origin=Origin(by_name=options["by"]))
        self.stdout.write(f"{account} has the new password. All sessions of the account have ended.")

    def _switch(self, options: dict[str, Any], *, is_active: bool) -> None:
        account, state = _find(options["username"]), "active" if is_active else "deactivated"
        if account.is_active == is_active:
            raise CommandError(f"{account} is {state} already. Nothing was changed.")
        account.is_active = is_active
        account.changed_by = options["by"]  # for the log of sign-ins, which a signal writes
        with transaction.atomic(using=SIGNIN):
            account.save(update_fields=["is_active"])
        self.stdout.write(f"{account} is {state}.")


def _find(username: str) -> Any:
    """Return an account. Errors: InputInvalid ACCOUNT_UNKNOWN."""
    account = get_user_model().objects.filter(username=username).first()
    if account is None:
        raise InputInvalid(f"there is no account {username[:150]}; correct the name", code="ACCOUNT_UNKNOWN")
    return account
