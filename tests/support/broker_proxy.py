"""TCP proxy to Redis. A test can let it hang or refuse connections, and the portal then sees a broker in this state."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import urlsplit


class BrokerProxy:
    """TCP proxy with the Redis URL `url`. At first it forwards everything.

    - `hang`: accept connections and forward nothing.
    - `hang_at`: hang from the first request that contains this word.
    - `refuse`: close the port.
    - `restore`: forward everything again.
    """

    def __init__(self, redis_url: str) -> None:
        parts = urlsplit(redis_url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._hangs = threading.Event()
        self._word = b""
        self._sockets: set[socket.socket] = set()
        self.accepted = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.url = f"redis://127.0.0.1:{self._address[1]}{parts.path}"

    def __enter__(self) -> "BrokerProxy":
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
            self._listener.shutdown(socket.SHUT_RDWR)  # a blocked accept() would keep the port open
        self._listener.close()
        self._disconnect()

    def restore(self) -> None:
        was_refusing = self._listener.fileno() == -1
        self._word = b""
        self._hangs.clear()
        self._disconnect()  # no connection may wait for a response to a request that was not forwarded
        if was_refusing:
            self._listener = socket.create_server(self._address)
            self._listen()

    def _disconnect(self) -> None:
        for end in list(self._sockets):
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
                self._sockets.add(source)
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if self._word and self._word in data:
                    self._hangs.set()
                if not self._hangs.is_set():
                    target.sendall(data)
        self._sockets.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the other direction closes `target`
