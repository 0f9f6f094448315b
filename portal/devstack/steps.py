"""Commands that `devstack run` runs itself, between the start of the servers and that of the programs, and after."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from portal.devstack.child import command_tied_to
from portal.devstack.waiting import Abandoned

_STOP_SECONDS = 10
_PAUSE_SECONDS = 0.1


def run_step(command: Sequence[str], *, python: str, project: Path, log: Path, abandon: Callable[[], bool]) -> int:
    """The command's exit code; its output goes to `log`. Errors: Abandoned, after it has been ended."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            command_tied_to(os.getpid(), signal.SIGTERM, command, python=python),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=project,
            start_new_session=True,  # Ctrl-C is for us, and we end it with its children
        )
    while process.poll() is None:
        if abandon():
            _end(process)
            raise Abandoned("a step of the set-up")
        time.sleep(_PAUSE_SECONDS)
    return process.returncode


def answer_of(command: Sequence[str], *, python: str, project: Path) -> str:
    """What the command prints, or its complaint when it fails."""
    done = subprocess.run(  # noqa: S603
        command_tied_to(os.getpid(), signal.SIGTERM, command, python=python),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=project,
    )
    return (done.stdout if done.returncode == 0 else done.stderr).rstrip()


def _end(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
