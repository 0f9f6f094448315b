"""The Temporal dev server: its command line, and whether it answers."""

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
    """The command that runs a dev server. Without `database` it forgets all at its end; without `ui_port` it has no UI."""
    command = [str(cli), "server", "start-dev", "--ip", ports.LOOPBACK, "--port", str(port), "--log-level", "error"]
    command += ["--headless"] if ui_port is None else ["--ui-port", str(ui_port)]
    if database is not None:
        # Twice as many workflows a second as with SQLite's defaults (docs/architecture.md#facts-found-by-trial).
        command += ["--db-filename", str(database), "--sqlite-pragma", "journal_mode=WAL"]
        command += ["--sqlite-pragma", "synchronous=NORMAL"]
    if namespace != _DEFAULT_NAMESPACE:
        command += ["--namespace", namespace]
    return command


def environment() -> dict[str, str]:
    """This process's environment without TEMPORAL_*: the portal's own settings, some of which the CLI reads as its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}


def address(port: int) -> str:
    return f"{ports.LOOPBACK}:{port}"


def problem(*, cli: Path, port: int, namespace: str = _DEFAULT_NAMESPACE) -> str:
    """What keeps the server from describing the namespace; "" when it does.

    Asked through the CLI, because only `workflows.temporal` may import the SDK.
    Cost: one process, when somebody listens at all.
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
        return f"no answer within {2 * _CALL_SECONDS} s"
    return "" if done.returncode == 0 else (done.stderr.strip() or f"the CLI ended with {done.returncode}")
