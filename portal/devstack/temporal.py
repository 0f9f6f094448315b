"""Temporal dev server: its command line and its probe."""

import os
import signal
import socket
import subprocess
from pathlib import Path

from portal.devstack import ports

STOP_SIGNAL = signal.SIGTERM
_DEFAULT_NAMESPACE = "default"
_CALL_SECONDS = 5


def server_command(
    *, cli: Path, port: int, database: Path | None, ui_port: int | None = None, namespace: str = _DEFAULT_NAMESPACE
) -> list[str]:
    """Return the command for a dev server.

    If `database` is None, the data is in memory. If `ui_port` is None, the server has no UI.
    """
    command = [str(cli), "server", "start-dev", "--ip", ports.LOOPBACK, "--port", str(port), "--log-level", "error"]
    command += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port)]
    if database is not None:
        # These options double the workflows per second (docs/architecture.md#facts-found-by-trial).
        command += ["--db-filename", str(database), "--sqlite-pragma", "journal_mode=WAL"]
        command += ["--sqlite-pragma", "synchronous=NORMAL"]
    if namespace != _DEFAULT_NAMESPACE:
        command += ["--namespace", namespace]
    return command


def environment() -> dict[str, str]:
    """Return the environment without TEMPORAL_*.

    The CLI would take some of the portal's settings for its own settings.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


def address(port: int) -> str:
    return f"{ports.LOOPBACK}:{port}"


def problem(*, cli: Path, port: int, namespace: str = _DEFAULT_NAMESPACE) -> str:
    """Return "" if the server describes the namespace, otherwise the problem.

    This function calls the CLI, because only `workflows.temporal` may import the SDK.

    Cost: one process if the port is in use, otherwise none.
    """
    try:
        socket.create_connection((ports.LOOPBACK, port), timeout=_CALL_SECONDS).close()
    except OSError as error:
        return str(error)
    command = [str(cli), "operator", "namespace", "describe", "--namespace", namespace, "--address", address(port)]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, "--command-timeout", f"{_CALL_SECONDS}s"],
            check=False,
            capture_output=True,
            text=True,
            timeout=2 * _CALL_SECONDS,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        return f"no response within {2 * _CALL_SECONDS} s"
    return "" if done.returncode == 0 else (done.stderr.strip() or f"the CLI ended with exit code {done.returncode}")
