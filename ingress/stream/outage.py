"""A server that is down: told once, waited for with growing pauses, told again when it is back."""

import logging
import threading

from workflows.backoff import backoff_seconds

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


class Outage:
    """Of one server, as one process sees it. `stop` ends every pause at once."""

    def __init__(self, server: str, stop: threading.Event) -> None:
        self._server = server
        self._stop = stop
        self._failures = 0

    def wait(self, error: Exception) -> None:
        """Call it after each failure; each pause in a row is twice as long, up to ten seconds."""
        if not self._failures:
            logger.error("%s fails (an operator must see to it): %s", self._server, str(error)[:500])
        self._failures += 1
        self._stop.wait(backoff_seconds(self._failures, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS))

    def over(self) -> None:
        """Call it after each success."""
        if self._failures:
            logger.warning("%s works again, after %d failed attempts", self._server, self._failures)
            self._failures = 0
