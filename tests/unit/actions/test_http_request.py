"""`http.request` against servers that send too much, too slowly, or what cannot be read."""

import gzip
import socket
import threading
import time
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from workflows.actions.http import HttpRequestInput, http_request
from workflows.actions.registry import ActionContext, ActionFailed

Handler = Callable[[socket.socket], None]
CONTEXT = ActionContext(uuid.UUID(int=1), uuid.UUID(int=2), "root.steps[0]", "key-1", 90)
BOMB = gzip.compress(gzip.compress(b"\0" * 400_000_000, 9), 9)


@contextmanager
def raw_server(handler: Handler, settings: Any) -> Iterator[str]:
    """Run a server that reads one request and then calls the handler with the connection. Return its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings.HTTP_ALLOWED_PRIVATE_HOSTS = [f"127.0.0.1:{port}"]

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                handler(connection)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        listener.close()
        thread.join()


def sends(head: str, body: bytes = b"", status: str = "200 OK") -> Handler:
    text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n"
    return lambda connection: connection.sendall(text.encode("latin-1") + body)


def called(handler: Handler, settings: Any, **fields: Any) -> Any:
    with raw_server(handler, settings) as url:
        return http_request(HttpRequestInput(url=url, **fields), CONTEXT)


def refused(handler: Handler, settings: Any, **fields: Any) -> tuple[str, str | None]:
    with pytest.raises(ActionFailed) as failure:
        called(handler, settings, **fields)
    return failure.value.category, failure.value.code


def test_compressed_responses_are_decoded(settings: Any) -> None:
    text = b'{"a": 1}' + b" " * 150_000
    raw = zlib.compressobj(wbits=-15)
    for encoding, body in (
        ("gzip", gzip.compress(text)),
        ("deflate", zlib.compress(text)),
        ("deflate", raw.compress(text) + raw.flush()),
        ("identity", text),
    ):
        head = f"Content-Type: application/json\r\nContent-Encoding: {encoding}\r\n"
        assert called(sends(head, body), settings).body == {"a": 1}, encoding


def test_a_decompression_bomb_ends_at_the_limit(settings: Any) -> None:
    once = gzip.decompress(BOMB)
    assert len(once) < 500_000
    code = ("ValidationError", "HTTP_RESPONSE_TOO_LARGE")
    tracemalloc.start()
    try:
        for encoding in ("gzip", "deflate"):
            assert refused(sends(f"Content-Encoding: {encoding}\r\n", once), settings) == code
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "compress", "nonsense"])
def test_encodings_without_a_bound_are_refused(settings: Any, encoding: str) -> None:
    code = ("ValidationError", "HTTP_ENCODING_NOT_SUPPORTED")
    assert refused(sends(f"Content-Encoding: {encoding}\r\n", BOMB), settings) == code


def test_a_broken_compressed_response_has_a_code(settings: Any) -> None:
    for body in (b"not compressed", gzip.compress(b"some text")[:-9]):
        found = refused(sends("Content-Encoding: gzip\r\n", body), settings)
        assert found == ("TransientError", "HTTP_RESPONSE_INVALID")


def test_the_request_asks_only_for_bounded_encodings(settings: Any) -> None:
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))
    settings.HTTP_ALLOWED_PRIVATE_HOSTS = ["127.0.0.1"]

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            received.append(connection.recv(65536).lower())
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    given = {"accept-encoding": "br", "HOST": "other", "idempotency-key": "own"}
    http_request(HttpRequestInput(url=f"http://127.0.0.1:{port}/", headers=given), CONTEXT)
    thread.join()
    listener.close()
    lines = received[0].split(b"\r\n")
    assert [line for line in lines if line.startswith(b"accept-encoding")] == [b"accept-encoding: gzip, deflate"]
    assert [line for line in lines if line.startswith(b"host")] == [f"host: 127.0.0.1:{port}".encode()]
    assert [line for line in lines if line.startswith(b"idempotency-key")] == [b"idempotency-key: own"]


@pytest.mark.parametrize("part", ["head", "body"])
def test_the_timeout_covers_a_slowly_dripped_response(settings: Any, part: str) -> None:
    def drip(connection: socket.socket) -> None:
        text = b"HTTP/1.1 200 OK\r\n" + b"X-Drip: 1\r\n" * 30
        end = b"Content-Length: 0\r\n\r\n"
        if part == "body":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
            text, end = b"x" * 30, b""
        for piece in range(0, len(text), max(1, len(text) // 30)):
            connection.sendall(text[piece : piece + max(1, len(text) // 30)])
            time.sleep(0.1)  # the pace of the server, which is what the test is about
        connection.sendall(end)

    assert refused(drip, settings, timeout_seconds=0.5) == ("TransientError", "HTTP_TIMEOUT")


def test_deep_json_has_a_code(settings: Any) -> None:
    body = b"[" * 90_000 + b"]" * 90_000
    found = refused(sends("Content-Type: application/json\r\n", body), settings)
    assert found == ("ValidationError", "HTTP_RESPONSE_INVALID")


@pytest.mark.parametrize("charset", ["nonsense", "hex", "base64", "rot13", "idna", "punycode", "undefined"])
def test_an_unknown_charset_has_a_code(settings: Any, charset: str) -> None:
    found = refused(sends(f"Content-Type: text/plain; charset={charset}\r\n", b"abc"), settings)
    assert found == ("ValidationError", "HTTP_CHARSET_UNKNOWN")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("X-Own", "a\r\nX-Other: b"), ("X-Own", "a\nb"), ("X-Own", "a\0"), ("X-Own", "ü"), ("X Own", "a"), ("", "a"),
        ("X-Own\r\nX-Other", "a"), ("Content-Length", "7"), ("transfer-encoding", "chunked"), ("Connection", "upgrade"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_sent_has_a_code(name: str, text: str) -> None:
    with pytest.raises(ActionFailed) as failure:
        http_request(HttpRequestInput(url="http://127.0.0.1/", headers={name: text}), CONTEXT)
    assert (failure.value.category, failure.value.code) == ("ValidationError", "HTTP_HEADER_INVALID")


@pytest.mark.parametrize("key", ["a\nb", "Zoë"])
def test_an_idempotency_key_that_cannot_be_sent_has_a_code(key: str) -> None:
    context = replace(CONTEXT, idempotency_key=key)
    with pytest.raises(ActionFailed) as failure:
        http_request(HttpRequestInput(url="http://127.0.0.1/"), context)
    assert (failure.value.category, failure.value.code) == ("ValidationError", "HTTP_HEADER_INVALID")


@pytest.mark.parametrize("url", ["http://" + "a" * 64 + ".example/", "http://[::1", "http://a:99999/", "http://\0/"])
def test_a_url_that_cannot_be_called_has_a_code(url: str) -> None:
    with pytest.raises(ActionFailed) as failure:
        http_request(HttpRequestInput(url=url), CONTEXT)
    assert (failure.value.category, failure.value.code) == ("ValidationError", "HTTP_URL_INVALID")


def test_odd_response_headers_are_returned_as_text(settings: Any) -> None:
    head = "X-Odd: ü\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Type: ;;;=\r\n"
    output = called(sends(head, b"abc"), settings)
    assert (output.headers["x-odd"], output.headers["x-two"], output.body) == ("ü", "1, 2", "abc")


def test_a_response_that_is_not_http_has_a_code(settings: Any) -> None:
    def garbage(connection: socket.socket) -> None:
        connection.sendall(b"\x00\x01\x02 garbage\r\n\r\n")

    assert refused(garbage, settings) == ("TransientError", "HTTP_FAILED")
