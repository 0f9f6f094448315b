"""Reader of HTTP requests for the web server.

The server reads a request completely before a thread works on it. So a slow client occupies no thread. The reader
limits what the server keeps: the lines of a chunked body, and the bytes of every body.
"""

import time
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver, FixedStreamReceiver
from waitress.utilities import BadRequest, RequestEntityTooLarge

from portal.bodies import body_limit

# waitress has no limit for the lines between chunks. It would search a long line again after each part that arrives.
LINE_BYTES, TRAILER_BYTES = 1024, 8192


class BodyBuffer(OverflowableBuffer):
    """Buffer that counts all bytes of a body and keeps at most `limit` of them. Its length is the counted length."""

    def __init__(self, overflow: int, limit: int) -> None:
        super().__init__(overflow)
        self.limit = limit
        self.counted = 0

    def __len__(self) -> int:
        return self.counted

    def append(self, data: bytes) -> None:
        self.counted += len(data)
        if self.counted <= self.limit:
            super().append(data)


class BodyChunks(ChunkedReceiver):
    """Reader of a chunked body that limits the lines between the chunks."""

    def received(self, data: bytes) -> int:
        consumed = super().received(data)
        if len(self.control_line) > LINE_BYTES or (not self.completed and len(self.trailer) > TRAILER_BYTES):
            self.error = BadRequest("A line between the chunks of the body is too long")
        return consumed


class RequestReader(HTTPRequestParser):
    """Request that is being received.

    A body over the limit of its address is counted and not kept. The request then goes to the application, which
    refuses it by its length (`portal/bodies.py`). So the client can send its whole body, and sees the refusal.
    """

    error: Any
    body_rcv: Any

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.began = time.time()

    def received(self, data: bytes) -> int:
        consumed = super().received(data)
        if isinstance(self.error, RequestEntityTooLarge):
            # The body is so large that the server does not even read it.
            self.error = None
            self.headers["CONTENT_LENGTH"] = str(max(self.content_length, self.body_bytes_received))
            self.headers["CONNECTION"] = "close"
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            body = BodyBuffer(self.adj.inbuf_overflow, body_limit(self.path))
            self.body_rcv = BodyChunks(body) if self.chunked else FixedStreamReceiver(self.content_length, body)
