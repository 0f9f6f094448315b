"""One embedded server without a supervisor. Its owner starts, stops and kills it."""

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
# The kernel sends the death signal even if only the thread that forked the child ends. The thread of this executor
# lives as long as the process and forks all servers. So a test can start a server from any thread.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-forker")


class EmbeddedServer:
    """One server process. Its port and data survive stop, kill and start."""

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
        """Return the process id. Errors: StackError if the server is not running."""
        if self._process is None or self._process.poll() is not None:
            raise StackError(f"{self.name} is not running; call start() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it responds. Do nothing if it is running.

        Errors: StackError. Its message has the last lines of the server's log.
        """
        if self.running:
            return
        for attempt in range(_ATTEMPTS):
            # After a crash, children of the old process can hold its lock or shared memory for a moment.
            time.sleep(0.2 * attempt)
            if not self._was_ready and ports.listen_error(ports.LOOPBACK, self.port):
                self.port = ports.free_port()
            if self._start_once():
                return
        raise StackError(f"{self.name} ended {_ATTEMPTS} times before it was ready; {self._log_tail()}")

    def _start_once(self) -> bool:
        self._process = process = _forker.submit(self._spawn).result()
        try:
            wait_until(self.name, lambda: self._problem_of(process), seconds=READY_SECONDS, pause=0.05)
        except NotReady as error:
            self.kill()
            raise StackError(f"{error}; {self._log_tail()}") from error
        if process.poll() is not None:
            return False
        self._was_ready = True
        self._on_ready(self.port)
        return True

    def _problem_of(self, process: "subprocess.Popen[bytes]") -> str:
        if process.poll() is not None:
            return ""  # the server has ended; the caller checks the exit code
        if not ports.listens(process.pid, self.port):
            return f"it is not listening on port {self.port}"
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
        """Stop the server and return when it has ended. Kill it after STOP_SECONDS."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the server with SIGKILL, as in a crash."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-15:] if self.log.exists() else []
        return "\n  ".join([f"the end of {self.log}:", *lines])
