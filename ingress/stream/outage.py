"""Outages of a server that a consumer needs.

The first failure is logged. The retries have growing pauses. The end of the outage is logged too.
"""

import logging
import threading

from django.db import InterfaceError, OperationalError

from workflows.backoff import backoff_seconds
from workflows.database_errors import is_data_error

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0
# SQLSTATE of a write on a standby server. After a failover, an open connection can lead to such a server.
READ_ONLY = "25006"


class Outage:
    """Outages of one server from the view of one process. `stop` ends every pause at once."""

    def __init__(self, server: str, stop: threading.Event) -> None:
        self._server = server
        self._stop = stop
        self._failures = 0

    def wait(self, error: Exception) -> None:
        """Log the first failure and wait. Call this method after each failure. The pause doubles up to ten seconds."""
        if not self._failures:
            logger.error("%s is unavailable; an operator must check the server: %s", self._server, str(error)[:500])
        self._failures += 1
        self._stop.wait(backoff_seconds(self._failures, first=FIRST_PAUSE_SECONDS, longest=LONGEST_PAUSE_SECONDS))

    def end(self) -> None:
        """Log the end of an outage. Call this method after each success."""
        if self._failures:
            logger.warning("%s is available again after %d failed attempts", self._server, self._failures)
            self._failures = 0


def is_database_outage(error: Exception) -> bool:
    """Return True if the error means that the database is unreachable or read-only.

    The entry itself is not the cause and must be retried.
    """
    if getattr(error.__cause__, "sqlstate", None) == READ_ONLY:
        return True
    return isinstance(error, OperationalError | InterfaceError) and not is_data_error(error)
