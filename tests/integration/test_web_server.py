"""Slow clients, and the end of the web process (docs/reference/api.md#slow-clients)."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from portal.devstack.child import PROJECT
from tests.support.factories import eventually
from tests.support.web_server import running_web_server

HALF_SENT = (
    b"",
    b"POST",
    b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-Long: ",
    b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{",
    b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n{",
)
SLOW_CLIENTS = 200
HEALTH_SECONDS = 15.0  # half the time for which a slow client could hold a thread
LIMIT_SECONDS = 2
# Responds to /wait when the file exists. Responds to /large with more bytes than the buffers of server and socket hold.
APPLICATION = """
import os, time

def application(environ, start_response):
    start_response("200 OK", [])
    while environ["PATH_INFO"] == "/wait" and not os.path.exists({file!r}):
        time.sleep(0.02)
    return [b"x" * 1_000_000 for _ in range(60)] if environ["PATH_INFO"] == "/large" else [b"done"]
"""

SHORT_GRACE = """
from portal.web import server
server.GRACEFUL_SECONDS = 1
"""


@contextmanager
def client_of(port: int) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        yield connection


def request(port: int, path: str, *, timeout: float = 60) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", path)
        with closing(connection.getresponse()) as response:
            return response.status, response.read()


def test_half_sent_requests_hold_no_thread(database: None) -> None:
    with running_web_server(threads=2, seconds=30) as server, ExitStack() as stack:
        for number in range(SLOW_CLIENTS):
            client = stack.enter_context(client_of(server.port))
            client.sendall(HALF_SENT[number % len(HALF_SENT)])
        status, _ = request(server.port, "/healthz", timeout=HEALTH_SECONDS)
        assert status == 200


def test_request_that_does_not_arrive_in_time_is_closed(database: None) -> None:
    """Some clients are silent. The others send one more byte again and again."""
    with running_web_server(seconds=LIMIT_SECONDS) as server, ExitStack() as stack:
        began = time.monotonic()
        silent, dripping = ([stack.enter_context(client_of(server.port)) for _ in HALF_SENT] for _ in range(2))
        for clients in (silent, dripping):
            for client, sent in zip(clients, HALF_SENT, strict=True):
                client.sendall(sent)
                client.setblocking(False)
        is_open = dict.fromkeys([*silent, *dripping], True)

        def are_closed() -> bool:
            for client in [each for each, open_ in is_open.items() if open_]:
                try:
                    if client in dripping[1:]:
                        client.send(b"1")
                    is_open[client] = client.recv(1) != b""
                except BlockingIOError:
                    continue
                except ConnectionError:
                    is_open[client] = False
                if not is_open[client]:
                    assert time.monotonic() - began >= LIMIT_SECONDS
            return not any(is_open.values())

        eventually(are_closed, what="the connections are closed")


def test_response_that_is_not_read_holds_no_thread(tmp_path: Path) -> None:
    application = APPLICATION.format(file=str(tmp_path / "go"))
    with running_web_server(application, threads=1, seconds=LIMIT_SECONDS) as server, client_of(server.port) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.recv(1)  # the only thread works on the response
        assert request(server.port, "/") == (200, b"done")


def test_slow_request_of_the_application_is_not_cut_off(tmp_path: Path) -> None:
    """The limit is for the client. A request that has arrived may take longer."""
    go = tmp_path / "go"
    with running_web_server(APPLICATION.format(file=str(go)), seconds=1) as server, client_of(server.port) as client:
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with client_of(server.port) as silent:
            assert silent.recv(1) == b""  # the time is over for both connections
        go.touch()
        assert client.recv(15) == b"HTTP/1.1 200 OK"


def test_sigterm_lets_running_requests_finish(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with (
        running_web_server(APPLICATION.format(file=str(go)), threads=1) as server,
        client_of(server.port) as running,
        client_of(server.port) as queued,
        client_of(server.port) as idle,
    ):
        for client in (running, queued):
            client.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""

        def is_refused() -> bool:
            try:
                socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            return False

        eventually(is_refused, what="new connections are refused")
        go.touch()
        for client in (running, queued):
            with closing(http.client.HTTPResponse(client)) as response:
                response.begin()
                assert (response.status, response.read()) == (200, b"done")
        assert server.process.wait(30) == 0


def test_request_that_does_not_end_is_cut_off_after_sigterm(tmp_path: Path) -> None:
    application = APPLICATION.format(file=str(tmp_path / "never")) + SHORT_GRACE
    with (
        running_web_server(application) as server,
        client_of(server.port) as client,
    ):
        client.sendall(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert request(server.port, "/") == (200, b"done")  # the other request has arrived too
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
        assert "1 requests did not end within 1 s" in server.rest_of_log()


@pytest.mark.parametrize(("host", "problem"), [("127.0.0.1", "Address already in use"), ("no.such.host.invalid", "")])
def test_address_that_cannot_be_used_is_named(database: None, host: str, problem: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "manage.py", "web_server"],
            cwd=PROJECT,
            env={**os.environ, "HOST": host, "PORT": port},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert f"cannot listen on {host} port {port}: " in ended.stderr
    assert problem in ended.stderr
    assert "Traceback" not in ended.stderr
