"""`manage.py demo_credentials [--json]`: addresses, users and token of the demo."""

import json
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from portal.demo.credentials import read_credentials
from portal.demo.load import TOKEN_ROLE
from workflows.management.scoped import SystemCommand


class Command(SystemCommand):
    help = "Print the demo's URL, users with passwords, and API token."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        credentials = read_credentials()
        if credentials is None:
            raise CommandError(
                "This POINTSMAN_HOME has no demo data. Run `make run` or `manage.py demo_load` to create it."
            )
        if options["json"]:
            self.stdout.write(json.dumps(credentials.as_json()))
            return
        self.stdout.write(f"Portal    {settings.PUBLIC_URL}/admin/")
        self.stdout.write(f"API       {settings.PUBLIC_URL}/api/v1/docs")
        self.stdout.write(f"Temporal  {settings.TEMPORAL_UI_URL}")
        self.stdout.write(f"Token     {credentials.token}   (role {TOKEN_ROLE})")
        self.stdout.write("Users     " + ", ".join(f"{user.username} / {user.password}" for user in credentials.users))
