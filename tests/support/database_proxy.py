"""TCP proxy to PostgreSQL. A test can cut it, and the process behind it then sees a server that is down."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import parse_qs, quote, urlsplit


class DatabaseProxy:
    """TCP proxy with the database URL `url`.

    `refuse` closes all connections and refuses new ones until `restore` is called.
    """

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        query = parse_qs(parts.query)
        self._folder = query.get("host", [parts.hostname or ""])[0]
        self._port = int(query.get("port", [parts.port or 5432])[0])
        self._refuses = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = quote(parts.username or "postgres")
        secret = f":{quote(parts.password)}" if parts.password else ""
        self.url = f"postgresql://{user}{secret}@127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"

    def __enter__(self) -> "DatabaseProxy":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.refuse()

    def refuse(self) -> None:
        self._refuses.set()
        for end in list(self._sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        self._refuses.clear()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses.is_set():
                client.close()
                continue
            server = self._connect()
            for source, target in ((client, server), (server, client)):
                self._sockets.add(source)
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._folder.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._folder}/.s.PGSQL.{self._port}")
            return server
        return socket.create_connection((self._folder, self._port))

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        self._sockets.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()  # the other direction closes `target`
