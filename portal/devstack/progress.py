"""Long-running child processes with progress messages."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from portal.devstack.child import PROJECT, command_tied_to
from portal.devstack.errors import StackError
from portal.devstack.waiting import Abandoned


@dataclass(frozen=True)
class Listener:
    """Receiver of progress messages. `is_cancelled` returns True if the caller no longer waits for the work."""

    say: Callable[[str], None]
    is_cancelled: Callable[[], bool] = lambda: False


REPORT_SECONDS = 10.0
_KEPT_LINES = 15
_PAUSE_SECONDS = 0.2


def run_reporting(
    command: Sequence[str],
    what: str,
    listener: Listener,
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    report_every: float = REPORT_SECONDS,
) -> None:
    """Run `command` to its end.

    Every `report_every` seconds, report the elapsed time and the last line of output.

    The calling thread must live as long as the command, because the command gets SIGTERM when this thread ends.

    Errors: Abandoned if the listener canceled the work; StackError if the command fails, cannot be started, or takes
    longer than `seconds`. The message of StackError has the last lines of the output.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    process = _start(command, environment)
    reader = threading.Thread(target=_collect, args=(process, lines), daemon=True)
    reader.start()
    began = reported = time.monotonic()
    try:
        while process.poll() is None:
            now = time.monotonic()
            if listener.is_cancelled():
                raise Abandoned(f"{what} was canceled")
            if now - began > seconds:
                raise StackError(f"not finished after {seconds:g} s; last output: {lines[-1] if lines else 'none'}")
            if now - reported >= report_every:
                reported = now
                listener.say(f"{what}: {now - began:.0f} s{f', {lines[-1]}' if lines else ''}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_PAUSE_SECONDS)
    finally:
        _end(process)
        reader.join(timeout=5)
    if process.returncode != 0:
        raise StackError(f"ended with exit code {process.returncode}: {' | '.join(lines) or 'no output'}")


def _start(command: Sequence[str], environment: Mapping[str, str] | None) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603
        command_tied_to(os.getpid(), signal.SIGTERM, command, python=sys.executable),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=PROJECT,
        env=environment,
        start_new_session=True,  # so that its child processes can be ended too
    )


def _collect(process: "subprocess.Popen[str]", lines: deque[str]) -> None:
    if process.stdout is None:
        raise AssertionError("the process was started without a pipe")
    with process.stdout as output:
        lines.extend(line.strip() for line in output if line.strip())


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
