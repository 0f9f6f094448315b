"""`manage.py createsuperuser` of Django, which names the command of the portal instead."""

from typing import Any

from django.contrib.auth.management.commands.createsuperuser import Command as OfDjango
from django.core.management.base import CommandError


class Command(OfDjango):
    help = "Not used: see manage.py create_admin NAME."

    def execute(self, *args: Any, **options: Any) -> None:
        """Refuse. The login of `default` may not write accounts, and the log of sign-ins would get no row."""
        raise CommandError(
            "Use manage.py create_admin NAME. It has the right to write accounts, and writes the log of sign-ins"
        )
