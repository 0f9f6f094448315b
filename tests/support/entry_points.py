"""A door between a process and the session's PostgreSQL, which a test can shut: what the process sees is a server that is down."""

import contextlib
import socket
import threading
from types import TracebackType
from urllib.parse import parse_qs, quote, urlsplit


class Door:
    """`url` leads through the door; `shut` cuts every connection and refuses new ones until `open` is called."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        query = parse_qs(parts.query)
        self._folder = query.get("host", [parts.hostname or ""])[0]
        self._port = int(query.get("port", [parts.port or 5432])[0])
        self._is_shut = threading.Event()
        self._ends: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = quote(parts.username or "postgres")
        secret = f":{quote(parts.password)}" if parts.password else ""
        self.url = f"postgresql://{user}{secret}@127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"

    def __enter__(self) -> "Door":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.shut()

    def shut(self) -> None:
        self._is_shut.set()
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @property
    def is_shut(self) -> bool:
        return self._is_shut.is_set()

    def open(self) -> None:
        self._is_shut.clear()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_shut.is_set():
                client.close()
                continue
            server = self._connect()
            for source, target in ((client, server), (server, client)):
                self._ends.add(source)
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._folder.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{self._folder}/.s.PGSQL.{self._port}")
            return server
        return socket.create_connection((self._folder, self._port))

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        self._ends.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
