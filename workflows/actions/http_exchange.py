"""One HTTP exchange. The time limit applies to the whole exchange, and the size of the response is limited.

The timeout of an HTTP library applies to each read. A server that sends one byte per second could delay the action for
hours. So every operation on the connection gets the time that is left for the whole exchange.

A compressed body of 300 bytes can contain gigabytes of text. So the library does not decode the body. This module
decodes only the encodings for which zlib can limit the output. The request accepts only these encodings.
"""

import functools
import socket
import ssl
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from workflows.actions.registry import ActionFailed
from workflows.engine.errors import Category

MAX_RESPONSE_BYTES = 200_000
ACCEPT_ENCODING = "gzip, deflate"
# With this value, zlib recognises the headers of gzip and of zlib.
ANY_ZLIB_HEADER = 47


@dataclass(frozen=True)
class Received:
    """Response of a server with its decoded body."""

    status: int
    headers: httpx.Headers
    content: bytes


def exchange(request: httpx.Request, *, address: str, deadline: float) -> Received:
    """Send a request to the checked address of its host and return the response.

    Errors: httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError; ActionFailed if the response is
    too large, or if the size of its decoded text cannot be limited.

    Units: `deadline` is a time of `time.monotonic()`, in seconds.
    """
    with (
        httpcore.ConnectionPool(ssl_context=_ssl_context(), network_backend=_TimedBackend(deadline)) as pool,
        pool.stream(
            request.method,
            httpcore.URL(
                scheme=request.url.raw_scheme,
                host=address,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=request.content or None,
            extensions={"sni_hostname": request.url.host},
        ) as response,
    ):
        headers = httpx.Headers(response.headers)
        return Received(response.status, headers, _decoded(response.iter_stream(), headers.get("content-encoding", "")))


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _decoded(chunks: Iterable[bytes], encoding: str) -> bytes:
    """Return the decoded body. Stop reading and decoding as soon as the body is over the limit."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return _bounded(chunks)
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _bounded(_decompressed(chunks))
    raise ActionFailed(
        f"The response has the encoding {encoding[:100]!r}. Only gzip and deflate are supported, once.",
        category=Category.VALIDATION,
        code="HTTP_ENCODING_NOT_SUPPORTED",
    )


def _decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(ANY_ZLIB_HEADER)
    is_first = True
    for chunk in chunks:
        try:
            text = decoder.decompress(chunk, MAX_RESPONSE_BYTES)
        except zlib.error as error:
            if not is_first:
                raise _encoding_broken(error) from error
            # Some servers send `deflate` data without the header of zlib.
            decoder = zlib.decompressobj(-zlib.MAX_WBITS)
            text = _first_raw(decoder, chunk)
        is_first = False
        yield text
        while decoder.unconsumed_tail:
            yield decoder.decompress(decoder.unconsumed_tail, MAX_RESPONSE_BYTES)
    if not is_first and not decoder.eof:
        raise _encoding_broken("the body ends too early")


def _first_raw(decoder: Any, chunk: bytes) -> bytes:
    try:
        return bytes(decoder.decompress(chunk, MAX_RESPONSE_BYTES))
    except zlib.error as error:
        raise _encoding_broken(error) from error


def _encoding_broken(reason: object) -> ActionFailed:
    return ActionFailed(
        f"The compressed response cannot be read: {reason}.",
        category=Category.TRANSIENT,
        code="HTTP_RESPONSE_INVALID",
    )


def _bounded(chunks: Iterable[bytes]) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise ActionFailed(
                f"The response has more than {MAX_RESPONSE_BYTES} bytes, which is the limit.",
                category=Category.VALIDATION,
                code="HTTP_RESPONSE_TOO_LARGE",
            )
    return bytes(content)


class _TimedBackend(httpcore.NetworkBackend):
    """Network backend that opens connections. All operations on these connections have the same deadline."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        stream = self._backend.connect_tcp(host, port, left, local_address, socket_options)
        return _TimedStream(stream, self._deadline)


class _TimedStream(httpcore.NetworkStream):
    """Connection on which all operations have the same deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # The stream's own `write` would allow the whole time again for each part of the buffer.
        connection: socket.socket = self._stream.get_extra_info("socket")
        remaining = memoryview(buffer)
        try:
            while remaining:
                connection.settimeout(_left(self._deadline, httpcore.WriteTimeout))
                remaining = remaining[connection.send(remaining) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, httpcore.ConnectTimeout)
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float, expired: type[httpcore.TimeoutException]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise expired("the time of the exchange is used up")
    return left
