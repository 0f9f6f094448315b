"""Base class of management commands. These commands may read the rows of every tenant."""

from typing import Any

from django.core.management.base import BaseCommand

from workflows.tenancy import system_scope, use_system_login


class SystemCommand(BaseCommand):
    """Management command that runs in the system scope. Its services select the rows of one tenant themselves.

    It connects with the login of DATABASE_SYSTEM_URL.
    """

    def execute(self, *args: Any, **options: Any) -> Any:
        use_system_login()
        with system_scope():
            return super().execute(*args, **options)
