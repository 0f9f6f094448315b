"""The command `manage.py devstack`: its exit codes and error messages."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import execute_from_command_line

from portal.devstack.child import PROJECT
from portal.devstack.ports import free_port


def devstack(home: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if name not in {"TEMPORAL_CLI", "PORT"}}
    return subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), "devstack", *words],
        capture_output=True,
        text=True,
        timeout=120,
        env={**inherited, "POINTSMAN_ENV": "development", "POINTSMAN_HOME": str(home), **variables},
    )


def ended_with(home: Path, settings: Any, *words: str) -> Any:
    """Run the command in this process, which takes a hundredth of the time. Return its exit code."""
    settings.POINTSMAN_HOME = home
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(["manage.py", "devstack", *words])
    return ended.value.code


def test_process_has_the_exit_code_3_without_a_running_stack(home: Path) -> None:
    done = devstack(home, "status", TEMPORAL_ADDRESS="127.0.0.1:1")
    assert done.returncode == 3
    assert "The stack is not running" in done.stderr


@pytest.mark.parametrize("words", [("status",), ("stop",), ("start", "web")])
def test_exit_code_is_3_without_a_running_stack(
    home: Path, settings: Any, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert ended_with(home, settings, *words) == 3
    assert "The stack is not running" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("start",), "needs the name of a program"),
        (("restart",), "needs the name of a program"),
        (("run", "web"), "takes no program name"),
        (("halt",), "invalid choice: 'halt'"),
    ],
)
def test_wrong_arguments_are_explained(
    home: Path, settings: Any, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert ended_with(home, settings, *words) in (1, 2)
    assert message in capsys.readouterr().err


def test_busy_port_stops_the_run_before_anything_starts(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = devstack(home, "run", PORT=str(port))
    assert done.returncode == 1
    assert f"Port {port} of web is in use by " in done.stderr
    assert f"(pid {os.getpid()})" in done.stderr
    assert "set PORT to another port" in done.stderr
    assert not (home / "supervisor" / "supervisord.conf").exists()
    assert not list((home / "logs").iterdir())


def test_wrong_temporal_cli_stops_the_run_and_names_the_variable(home: Path) -> None:
    servers = {"DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"}
    free = {name: str(free_port()) for name in ("PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")}
    done = devstack(home, "run", TEMPORAL_ADDRESS="", TEMPORAL_CLI="/no/such/temporal", **servers, **free)
    assert done.returncode == 1
    assert "TEMPORAL_CLI is '/no/such/temporal', but /no/such/temporal does not exist" in done.stderr
