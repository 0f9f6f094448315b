"""Bodies without a length, cursors that were changed, and addresses that Django adds (docs/reference/api.md#scope)."""

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.test import RequestFactory

from tests.support.api import Api, error_of
from tests.support.events import receive
from tests.support.factories import make_run, make_token
from tests.support.members import member_of
from tests.support.web_server import running_web_server
from workflows.models import Event

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CLOUD_EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "ORDER"}


@pytest.fixture(scope="module")
def web_server(database: None) -> Iterator[int]:
    """Start the portal's web server. Yield its port."""
    with running_web_server() as server:
        yield server.port


def send_chunked(port: int, token: str, parts: list[bytes], **headers: str) -> tuple[int, dict[str, Any]]:
    sent = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
        "Connection": "close",
        **headers,
    }
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", "/api/v1/events", iter(parts), sent, encode_chunked=True)
        with closing(connection.getresponse()) as response:
            return response.status, json.loads(response.read())


def test_chunked_bodies_are_read(web_server: int, tenant: Any) -> None:
    token = make_token(tenant)
    status, body = send_chunked(web_server, token, [b'{"event_type": "E", ', b'"payload": {"a": 1}}'])
    assert (status, Event.objects.get(id=body["id"]).payload) == (202, {"a": 1})
    status, body = send_chunked(web_server, token, [b'{"orderId": ', b'"O1"}'], **CLOUD_EVENT)
    assert (status, Event.objects.get(id=body["id"]).payload) == (202, {"orderId": "O1"})


def test_limit_of_a_chunked_body_counts_while_it_is_read(web_server: int, tenant: Any) -> None:
    token = make_token(tenant)
    part = b" " * 1_000_000
    for parts in ([b'{"event_type": "E", "payload": {}}', part, part], [part] * 20):
        status, body = send_chunked(web_server, token, parts)
        assert (status, body["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert not Event.objects.filter(tenant=tenant).exists()


def call_wsgi(**environ: Any) -> tuple[str, bytes]:
    started: list[str] = []
    values = RequestFactory()._base_environ(REQUEST_METHOD="POST", PATH_INFO="/api/v1/events", **environ)
    body = b"".join(WSGIHandler()(values, lambda status, headers, *_: started.append(status)))
    return started[0], body


def test_server_that_cannot_read_chunks_refuses_the_body(database: None) -> None:
    status, body = call_wsgi(HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": BytesIO(b"{}")})
    assert (status.split()[0], b"LENGTH_REQUIRED" in body) == ("411", True)


@pytest.mark.parametrize(
    ("request_bytes", "status", "message"),
    [
        (b"POST /api/v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n", 400, "not properly"),
        (b"POST /api/v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "Invalid chunk size"),
        (b"POST /api/v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 9000, 400, "too long"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"t: 1\r\n" * 4000, 400, "too long"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not supported"),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "Content-Length is invalid"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, 431, "exceeds max_header"),
        (b"nonsense\r\n\r\n", 400, "invalid"),
    ],
    ids=lambda value: value[:30].decode() if isinstance(value, bytes) else str(value),
)
def test_request_that_is_not_http_is_refused(web_server: int, request_bytes: bytes, status: int, message: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", web_server), timeout=30)) as connection:
        connection.sendall(request_bytes)
        with closing(http.client.HTTPResponse(connection)) as response:
            response.begin()
            error = json.loads(response.read())["error"]
    assert (response.status, error["code"]) == (status, "REQUEST_INVALID")
    assert message in error["message"]


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/runs"])
def test_body_that_is_too_large_to_be_read_is_refused(web_server: int, path: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", web_server), timeout=30)) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n".encode())
        with closing(http.client.HTTPResponse(connection)) as response:
            response.begin()
            assert (response.status, json.loads(response.read())["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    "text",
    [
        "p=yesterday", "p=%00", "p=2026-13-45T00:00:00", "o=x", "r=maybe", "p=0001-01-01T00:00:00%2B14:00&o=1",
        "p=" + "9" * 5000,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/runs", "/events", "/commands", "/deliveries", "/tasks", "/bulk"])
def test_changed_cursor_is_refused_or_harmless(tenant: Any, path: str, text: str) -> None:
    api = Api(make_token(tenant))
    make_run(tenant), receive(tenant)
    cursor = base64.b64encode(text.encode()).decode()
    assert api.get(f"{path}?cursor={cursor}").status_code in ((200, 400) if "0001" in text else (400,))


def test_cursor_that_is_no_base64_is_refused(tenant: Any) -> None:
    for cursor in ("%00", "###", "ü", "AA"):
        error = error_of(Api(make_token(tenant)).get(f"/definitions?cursor={cursor}x"), 400)
        assert list(error["details"]["fields"]) == ["cursor"]


@pytest.mark.parametrize("path", ["r/7/1/", "r/7/x/", "r/99999999999/1/", "r/x"])
def test_addresses_that_django_adds_are_not_found(tenant: Any, path: str) -> None:
    client = member_of(tenant)
    client.raise_request_exception = False
    assert client.get(f"/admin/{path}").status_code == 404
