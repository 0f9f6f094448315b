"""Web server of the portal: waitress, with time limits for slow clients and an orderly end.

One thread reads all connections. A request gets one of the other threads only after its headers and its body have
arrived completely. So a client that sends slowly, or nothing, occupies a connection and never a thread.

Source: docs/decisions/0011-web-server.md
"""

import json
import logging
import resource
import signal
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from portal.bodies import DRAINED_BYTES, largest_body
from portal.web.requests import RequestReader
from workflows.api.errors import error_body

logger = logging.getLogger(__name__)

CONNECTIONS = 1000
OPEN_FILES = 4096  # each connection can also have a temporary file for its body and one for its response
HEADER_BYTES = 32_768
IN_MEMORY_BYTES = 65_536
# After SIGTERM, running requests get this time. The devstack's supervisor waits a little longer.
GRACEFUL_SECONDS = 10
CLEANUP_SECONDS = 1


class ErrorResponse(ErrorTask):
    """Response to a request that is not valid HTTP. It has the body of an API error."""

    def execute(self) -> None:
        error = self.request.error
        message = f"{error.reason}: {error.body}. Nothing was stored. Correct the request."
        code = "REQUEST_INVALID"
        if error.code >= 500 and error.code != 501:
            code, message = "INTERNAL_ERROR", "The portal failed. An operator must read the log of the web process."
        body = json.dumps(error_body(code, message)).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Connection(HTTPChannel):
    """Connection of one client."""

    parser_class = RequestReader
    error_task_class = ErrorResponse

    def is_busy(self) -> bool:
        return bool(self.requests or self.request or self.total_outbufs_len)

    def close_if_overdue(self, cutoff: float) -> None:
        """Close a connection that was idle since the cutoff, or whose request began before the cutoff.

        waitress would only mark the connection. It closes a marked connection when its socket can be written. The
        socket of a client that does not read its response cannot be written.
        """
        if not self.outbuf_lock.acquire(blocking=False):
            return  # a thread is writing the response. A thread that waits for the client does not hold the lock
        try:
            if self._is_overdue(cutoff):
                self.handle_close()
        finally:
            self.outbuf_lock.release()

    def _is_overdue(self, cutoff: float) -> bool:
        is_waiting_for_client = self.total_outbufs_len or not self.requests
        if is_waiting_for_client and self.last_activity < cutoff:
            return True
        return not self.requests and self.request is not None and self.request.began < cutoff


class ListeningSocket(TcpWSGIServer):
    channel_class = Connection

    def maintenance(self, now: float) -> None:
        """Close the connections of slow clients. waitress calls this method every CLEANUP_SECONDS."""
        for connection in list(self.active_channels.values()):
            connection.close_if_overdue(now - self.adj.channel_timeout)

    def accept_waiting(self) -> None:
        """Accept the connections that wait in the kernel, because a close of the listening socket would reset them."""
        before = -1
        while before < len(self._map) < CONNECTIONS:
            before = len(self._map)
            self.handle_accept()


class WebServer:
    """Server of a WSGI application on the addresses of one host name.

    Units: a client gets `request_seconds` to send a complete request, and the same time without any byte.
    Errors: OSError if the address is in use.
    """

    def __init__(
        self, application: Callable[..., Any], *, host: str, port: int, threads: int, request_seconds: int
    ) -> None:
        adj = Adjustments(
            listen=f"{_in_url(host)}:{port}",
            threads=threads,
            connection_limit=CONNECTIONS,
            channel_timeout=request_seconds,
            cleanup_interval=CLEANUP_SECONDS,
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=largest_body() + DRAINED_BYTES,
            inbuf_overflow=IN_MEMORY_BYTES,
            asyncore_use_poll=True,  # select() cannot watch file descriptors above 1023
            clear_untrusted_proxy_headers=False,  # Django decides which header of a proxy it trusts
            ident="",
        )
        _allow_open_files()
        self._map: dict[int, Any] = {}
        self._is_stopping = False
        self._threads = ThreadedTaskDispatcher()
        self._threads.set_thread_count(threads)
        self._sockets = [
            ListeningSocket(application, self._map, dispatcher=self._threads, adj=adj, sockinfo=each)
            for each in adj.listen
        ]

    def addresses(self) -> list[str]:
        return [f"http://{_in_url(each.effective_host)}:{each.effective_port}" for each in self._sockets]

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C. Then finish the requests that have begun, and return."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        logger.info("Listening at %s", ", ".join(self.addresses()))
        while not self._is_stopping:
            wasyncore.loop(timeout=CLEANUP_SECONDS, use_poll=True, map=self._map, count=1)
        self._finish()

    def _stop(self, *_: Any) -> None:
        self._is_stopping = True
        self._sockets[0].pull_trigger()  # wakes the loop

    def _finish(self) -> None:
        """Close the listening sockets. Serve the busy connections until they are idle or the time is over."""
        for each in self._sockets:
            each.accept_waiting()
            wasyncore.dispatcher.close(each)  # `close` of the class would also close the trigger, which threads use
        deadline = time.monotonic() + GRACEFUL_SECONDS
        while (connections := self._connections()) and time.monotonic() < deadline:
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._map, count=1)
            for connection in connections:
                if connection.connected and not connection.is_busy():
                    connection.handle_close()
        if connections:
            logger.warning("%d requests did not end within %d s and were cut off", len(connections), GRACEFUL_SECONDS)
        self._threads.shutdown(timeout=1)

    def _connections(self) -> list[Connection]:
        return [each for each in self._map.values() if isinstance(each, Connection)]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
