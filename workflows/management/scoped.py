"""Base class of management commands. These commands may read the rows of every tenant."""

from typing import Any

from django.core.management.base import BaseCommand

from workflows.tenancy import system_scope


class SystemCommand(BaseCommand):
    """Management command that runs in the system scope. Its services select the rows of one tenant themselves."""

    def execute(self, *args: Any, **options: Any) -> Any:
        with system_scope():
            return super().execute(*args, **options)
