"""A gate between the portal and Redis: what the portal sees is a broker that hangs, or one that refuses connections."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class BrokerGate:
    """`url` leads through the gate, which begins open.

    `hang`: connections are accepted, and nothing is ever answered. `hang_at`: from the first request with this word on.
    `refuse`: nothing listens. `open` ends each of them.
    """

    def __init__(self, redis_url: str) -> None:
        parts = urlsplit(redis_url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._hangs = threading.Event()
        self._word = b""
        self._ends: set[socket.socket] = set()
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.url = f"redis://127.0.0.1:{self._address[1]}{parts.path}"

    def __enter__(self) -> "BrokerGate":
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def hang(self) -> None:
        self._hangs.set()

    def hang_at(self, word: bytes) -> None:
        self._word = word

    @property
    def hangs(self) -> bool:
        return self._hangs.is_set()

    def refuse(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # an accept under way would keep the port open
        self._listener.close()
        self._cut()

    def open(self) -> None:
        was_shut = self._listener.fileno() == -1
        self._word = b""
        self._hangs.clear()
        self._cut()  # what was swallowed is never answered
        if was_shut:
            self._listener = socket.create_server(self._address)
            self._listen()

    def _cut(self) -> None:
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            server = socket.create_connection(self._target)
            for source, target in ((client, server), (server, client)):
                self._ends.add(source)
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._word and self._word in data:
                    self._hangs.set()
                if not self._hangs.is_set():
                    target.sendall(data)
        self._ends.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
