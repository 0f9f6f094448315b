"""Commands that `devstack run` executes once: the set-up after the start of the servers, and the banner."""

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
    """Run the command with its output in `log` and return its exit code.

    Errors: Abandoned if `abandon` returns True. The command has then been ended.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            command_tied_to(os.getpid(), signal.SIGTERM, command, python=python),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=project,
            start_new_session=True,  # Ctrl-C does not reach the command; this process ends it and its children
        )
    while process.poll() is None:
        if abandon():
            _end(process)
            raise Abandoned("The set-up was canceled.")
        time.sleep(_PAUSE_SECONDS)
    return process.returncode


def output_of(command: Sequence[str], *, python: str, project: Path) -> str:
    """Return the output of the command, or its error output if it fails."""
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
