"""Bodies without a length, cursors that were changed, and addresses that Django adds (docs/reference/api.md#scope)."""

import base64
import http.client
import json
import os
import subprocess
import sys
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
from workflows.models import Event

pytestmark = pytest.mark.usefixtures("no_dispatcher")

CLOUD_EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "ORDER"}


@pytest.fixture(scope="module")
def web_server(database: None) -> Iterator[int]:
    """Start gunicorn as production does. Yield its port."""
    command = [sys.executable, "-m", "gunicorn", "portal.wsgi:application", "--bind", "127.0.0.1:0", "--threads", "2"]
    with subprocess.Popen(command, env={**os.environ}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "Listening at" in line)
        yield int(line.rpartition(":")[2].split()[0].rstrip(")"))
        process.terminate()
        process.stderr.close()


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


def test_broken_chunks_are_refused(database: None) -> None:
    class Broken(BytesIO):
        def read(self, *_: Any) -> bytes:
            raise OSError("a chunk ended early")

    environ = {"wsgi.input": Broken(), "wsgi.input_terminated": True}
    status, body = call_wsgi(HTTP_TRANSFER_ENCODING="chunked", **environ)
    assert (status.split()[0], b"a chunk ended early" in body) == ("400", True)


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
