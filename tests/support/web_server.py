"""The portal's web server in a process of its own, with the portal or with a small WSGI application."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from portal.devstack.child import PROJECT

SCRIPT = """
import sys, django
django.setup()
from portal.web.server import WebServer
{application}
WebServer(application, host="127.0.0.1", port=0, threads={threads}, request_seconds={seconds}).run()
"""
PORTAL = "from portal.wsgi import application"
LISTENING = re.compile(r"Listening at http://[^ ]+:(\d+)")


@dataclass
class RunningServer:
    process: subprocess.Popen[str]
    port: int

    def rest_of_log(self) -> str:
        """Return the log lines after the first one. Waits until the process ends."""
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def running_web_server(
    application: str = PORTAL, *, threads: int = 2, seconds: int = 30, **environment: str
) -> Iterator[RunningServer]:
    """Run the server. `application` is Python code that defines the WSGI application of this name."""
    script = SCRIPT.format(application=application, threads=threads, seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env={**os.environ, "LOG_LEVEL": "INFO", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        try:
            found = next(match for line in process.stderr if (match := LISTENING.search(line)))
            yield RunningServer(process, int(found[1]))
        finally:
            if process.poll() is None:
                process.kill()
