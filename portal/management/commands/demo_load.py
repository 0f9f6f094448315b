"""`manage.py demo_load`: create the demo tenant. `make run` runs it at every start."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from portal.demo.credentials import make_credentials
from portal.demo.load import load_demo
from workflows.management.scoped import SystemCommand


class Command(SystemCommand):
    help = "Create the demo tenant with members, token and definitions, or add what is missing (development only)."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError(
                "POINTSMAN_ENV is production. Demo accounts are not created there; use a development environment."
            )
        tenant = load_demo(make_credentials())
        self.stdout.write(f"Demo tenant {tenant.slug} is ready.")
