"""`manage.py web_server`: run the web process until SIGTERM or Ctrl-C."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from portal.web.server import WebServer


class Command(BaseCommand):
    help = "Run the web process on HOST and PORT. SIGTERM or Ctrl-C: finish running requests, then stop."

    def handle(self, *args: Any, **options: Any) -> None:
        from portal.wsgi import application

        WebServer(
            application,
            host=settings.HOST,
            port=settings.PORT,
            threads=settings.WEB_THREADS,
            request_seconds=settings.WEB_REQUEST_SECONDS,
        ).run()
