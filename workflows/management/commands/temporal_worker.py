"""`manage.py temporal_worker`: run the Temporal worker until SIGTERM or Ctrl-C."""

import asyncio
from typing import Any

from django.core.management.base import BaseCommand

from workflows.temporal.serve import serve


class Command(BaseCommand):
    help = "Run the Temporal worker of this portal. SIGTERM or Ctrl-C: finish running activities, then stop."

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(serve())
