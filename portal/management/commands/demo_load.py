"""`manage.py demo_load`: the demo tenant with its members, token and definitions. Runs at every `make run`."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from portal.demo.credentials import make_credentials
from portal.demo.load import load_demo
from workflows.management.scoped import SystemCommand


class Command(SystemCommand):
    help = "Create the demo tenant, or complete it (development only)."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("POINTSMAN_ENV is production; the demo's accounts do not belong there")
        tenant = load_demo(make_credentials())
        self.stdout.write(f"demo tenant {tenant.slug} is ready")
