"""`manage.py web_server`: run the web process until SIGTERM or Ctrl-C."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.web.server import WebServer


class Command(BaseCommand):
    help = "Run the web process on HOST and PORT. SIGTERM or Ctrl-C: finish running requests, then stop."

    def handle(self, *args: Any, **options: Any) -> None:
        from portal.wsgi import application

        try:
            server = WebServer(
                application,
                host=settings.HOST,
                port=settings.PORT,
                threads=settings.WEB_THREADS,
                request_seconds=settings.WEB_REQUEST_SECONDS,
            )
        except (OSError, ValueError) as error:
            raise CommandError(
                f"The web process cannot listen on {settings.HOST} port {settings.PORT}: {error}."
                " Set HOST to an address of this machine and PORT to a free port."
            ) from error
        server.run()
