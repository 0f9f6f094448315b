"""One server process of ours without a supervisor: started, stopped and killed by whoever holds it."""

import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from portal.devstack import ports, temporal
from portal.devstack.child import PROJECT
from portal.devstack.errors import StackError
from portal.devstack.waiting import NotReady, wait_until

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
_ATTEMPTS = 6
# A child with a death signal gets it when the thread that forked it ends, not only when the process does. So that a test may
# start a server from any thread, all are forked by one that lives as long as the process.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-forker")


class EmbeddedServer:
    """One server process of ours: start, stop and kill it; port and data stay the same."""

    def __init__(
        self,
        name: str,
        *,
        command: Callable[[int], list[str]],
        problem: Callable[[int], str],
        stop_signal: signal.Signals,
        log: Path,
        on_ready: Callable[[int], None] = lambda port: None,
    ) -> None:
        self.name = name
        self.port = ports.free_port()
        self.log = log
        self._command = command
        self._problem = problem
        self._stop_signal = stop_signal
        self._on_ready = on_ready
        self._process: subprocess.Popen[bytes] | None = None
        self._was_ready = False

    @property
    def pid(self) -> int:
        """Errors: StackError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise StackError(f"{self.name} does not run")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when the server answers; at once when it runs already. Errors: StackError with the end of its log."""
        if self.running:
            return
        for attempt in range(_ATTEMPTS):
            # After a crash, children of the old process may hold its lock or memory for a moment longer.
            time.sleep(0.2 * attempt)
            if not self._was_ready and ports.why_not_free(ports.LOOPBACK, self.port):
                self.port = ports.free_port()
            if self._start_once():
                return
        raise StackError(f"{self.name} ended {_ATTEMPTS} times before it was ready; {self._log_tail()}")

    def _start_once(self) -> bool:
        self._process = process = _forker.submit(self._spawn).result()
        try:
            wait_until(self.name, lambda: self._look(process), seconds=READY_SECONDS, pause=0.05)
        except NotReady as error:
            self.kill()
            raise StackError(f"{error}; {self._log_tail()}") from error
        if process.poll() is not None:
            return False
        self._was_ready = True
        self._on_ready(self.port)
        return True

    def _look(self, process: "subprocess.Popen[bytes]") -> str:
        if process.poll() is not None:
            return ""  # nothing to wait for; the caller sees that it has ended
        if not ports.listens(process.pid, self.port):
            return f"it does not listen on port {self.port}"
        return self._problem(self.port)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                self._command(self.port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env=temporal.environment(),
                start_new_session=True,
            )

    def stop(self) -> None:
        """Returns when the server has ended in order; after STOP_SECONDS it is killed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As a crash: the server gets no chance to tidy up."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:] if self.log.exists() else []
        return "\n  ".join([f"the end of {self.log}:", *lines])
