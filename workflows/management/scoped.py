"""Commands work for all tenants, as the system's role, until they have found the one that they are about."""

from typing import Any

from django.core.management.base import BaseCommand

from workflows.tenancy import system_scope


class SystemCommand(BaseCommand):
    def execute(self, *args: Any, **options: Any) -> Any:
        with system_scope():
            return super().execute(*args, **options)
