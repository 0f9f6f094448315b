"""`manage.py create_admin NAME`: the first administrator of an installation, a superuser.

Source: docs/reference/administration.md#first-administrator
"""

import getpass
import sys
from typing import Any

from django.contrib.auth import get_user_model, password_validation
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from portal.database_router import SIGNIN
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.services.accounts import account_save
from workflows.services.sign_in_records import Origin, sign_in_record
from workflows.sign_in_kinds import SignInKind


class Command(SystemCommand):
    help = "Create the first administrator. The password is asked, or read from the first line of the input."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--email", default="")
        parser.add_argument("--another", action="store_true", help="create one although an administrator exists")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = get_user_model().objects
        if accounts.filter(is_superuser=True, is_active=True).exists() and not options["another"]:
            raise CommandError("An administrator exists. To create another one, give --another.")
        account = get_user_model()(
            username=options["username"], email=options["email"], is_superuser=True, is_staff=True
        )
        password = read_password()
        try:
            password_validation.validate_password(password, account)
            account.set_password(password)
            account.full_clean()
        except ValidationError as error:
            raise CommandError(f"{' '.join(error.messages)} Nothing was created.") from error
        origin = Origin(by_name="manage.py")
        try:
            with transaction.atomic(using=SIGNIN):  # no account without its row in the log of sign-ins
                account_save(account)
                sign_in_record(kind=SignInKind.ACCOUNT_CREATED, account=account, detail="superuser", origin=origin)
        except PortalError as error:
            raise CommandError(f"{error.code}: {error.message} Nothing was created.") from error
        self.stdout.write(
            f"The administrator {account.get_username()} exists. Create a tenant:"
            " manage.py tenant create SLUG --name NAME"
        )


def read_password() -> str:
    """Ask for the password twice. Without a terminal, read it from the first line of the input.

    Errors: CommandError if the two entries differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Password (again): ") != password:
        raise CommandError("The passwords differ. Nothing was created.")
    return password
