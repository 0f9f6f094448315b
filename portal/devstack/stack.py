"""`devstack run`: start the stack, show its output, and stop it completely."""

import contextlib
import os
import subprocess
import time
from pathlib import Path
from typing import TextIO

from portal.devstack import home, programs, temporal_cli
from portal.devstack.child import adopt_orphans
from portal.devstack.config import StackConfig
from portal.devstack.errors import StackError
from portal.devstack.logs import LogFollower
from portal.devstack.output import Output
from portal.devstack.ports import check_ports
from portal.devstack.programs import APPS, SERVERS, Plan
from portal.devstack.progress import Listener
from portal.devstack.steps import output_of, run_step
from portal.devstack.stopping import StopRequest, kill_descendants, stop_signals
from portal.devstack.supervision import RUNNING, STOPPED, STOPPING, NoSupervisor, State, Supervisor, configuration
from portal.devstack.waiting import Abandoned, NotReady, Probe, wait_until

SETUP = "setup"
_SUPERVISOR_SECONDS = 20
_SERVER_SECONDS = 60
_READY_SECONDS = 60
# Time for the child processes of the servers. They end by themselves after their parent has ended.
_ORPHAN_SECONDS = 5
_CHECK_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
# If an earlier `devstack run` was killed, its supervisor needs at most this time to stop the programs.
_EARLIER_SECONDS = 90


def run(config: StackConfig, stream: TextIO) -> int:
    """Run the stack until it is stopped and return the exit code.

    Errors: StackError, but only before the first program is started.
    """
    request = StopRequest()
    out = Output(stream, [])
    home.make_folders(config.home)
    with stop_signals(request), home.lock(config.home):
        try:
            end_earlier(config.home, out, request)
            check_ports(programs.port_uses(config))
            cli = find_cli(config, Listener(out.say, request))
        except Abandoned:
            return 0
        return Stack(programs.plan(config, cli), stream, request).run()


def run_plan(plan: Plan, stream: TextIO) -> int:
    """Run a plan like `run`, but do not check its ports."""
    request = StopRequest()
    home.make_folders(plan.home)
    with stop_signals(request), home.lock(plan.home):
        end_earlier(plan.home, Output(stream, []), request)
        return Stack(plan, stream, request).run()


def find_cli(config: StackConfig, listener: Listener) -> Path | None:
    """Return the Temporal CLI, or None if the stack does not need it. Cost: see `temporal_cli`."""
    if "temporal" not in config.embedded:
        return None
    return temporal_cli.obtain(config.temporal_cli, config.cache, listener)


def end_earlier(folder: Path, out: Output, request: StopRequest) -> None:
    """If an earlier `devstack run` was killed, stop its supervisor and wait until the supervisor has ended."""
    supervisor = Supervisor(folder)
    if supervisor.has_ended():
        return
    out.say("An earlier stack is still running. Waiting until it has stopped.")
    with contextlib.suppress(NoSupervisor):  # the supervisor is already stopping
        supervisor.shut_down()

    def still_running() -> str:
        return "" if supervisor.has_ended() else "its supervisor still responds"

    wait_until("the end of the earlier stack", still_running, seconds=_EARLIER_SECONDS, abandon=request)


class Stack:
    """One run of a plan.

    Call `run` once, in the main thread, because child processes end with the thread that started them.
    """

    def __init__(self, plan: Plan, stream: TextIO, request: StopRequest) -> None:
        self._plan = plan
        self._request = request
        names = [program.name for program in plan.programs] + [SETUP]
        self._out = Output(stream, names)
        self._files = {name: home.log_file(plan.home, name) for name in names}
        self._files[SETUP].unlink(missing_ok=True)  # the supervisor rotates the other files
        self._follower = LogFollower(self._files, self._out)
        self._supervisor = Supervisor(plan.home)
        self._daemon: subprocess.Popen[bytes] | None = None
        self._last: dict[str, State] = {}
        self._stopped: set[str] = set()  # programs that a user stopped

    def run(self) -> int:
        adopt_orphans()
        self._follower.start()
        try:
            self._bring_up()
            self._watch()
            code = 0
        except Abandoned:
            code = 0
        except StackError as error:
            self._out.say(str(error))
            code = 1
        finally:
            left = self._take_down()
            self._follower.finish()
        self._out.say(f"Could not be ended: {', '.join(left)}" if left else "Stopped. No process is left.")
        return 1 if left else code

    # -- up ----------------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        self._start_supervisor()
        self._start(SERVERS)
        self._plan.prepare()
        for step in self._plan.steps:
            self._run_step(step)
        self._start(APPS)
        self._await_ready()

    def _start_supervisor(self) -> None:
        file = self._plan.home / "supervisor" / "supervisord.conf"
        file.write_text(configuration(self._plan))
        command = [self._plan.python, "-m", "portal.devstack.supervisord", str(os.getpid()), str(file)]
        with home.log_file(self._plan.home, "supervisord-errors").open("wb") as errors:
            # The supervisor gets its own session, so it does not receive Ctrl-C. This process stops the supervisor.
            self._daemon = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=subprocess.STDOUT,
                cwd=self._plan.project,
                start_new_session=True,
            )
        self._wait("the supervisor", self._supervisor.problem, _SUPERVISOR_SECONDS)

    def _start(self, group: str) -> None:
        members = self._plan.group(group)
        for program in members:
            self._supervisor.start(program.name)
        for program in members:
            if group == SERVERS and program.problem is not None:
                self._wait(program.name, program.problem, _SERVER_SECONDS)

    def _wait(self, what: str, probe: Probe, seconds: float, pause: float = _PAUSE_SECONDS) -> None:
        def checked_probe() -> str:
            self._check_supervisor()
            return probe()

        wait_until(what, checked_probe, seconds=seconds, abandon=self._must_stop, pause=pause)

    def _must_stop(self) -> bool:
        return self._request.requested or self._out.broken

    def _check_supervisor(self) -> None:
        """Check that the supervisor is running. Errors: StackError if it has ended.

        Its programs have then ended too.
        """
        if self._daemon is not None and self._daemon.poll() is not None:
            errors = home.log_file(self._plan.home, "supervisord-errors").read_text(errors="replace").strip()
            raise StackError(
                f"The supervisor ended with exit code {self._daemon.returncode}, so the stack stops. {errors}".strip()
            )

    def _run_step(self, step: programs.Step) -> None:
        plan, log = self._plan, self._files[SETUP]
        code = run_step(step.command, python=plan.python, project=plan.project, log=log, abandon=self._must_stop)
        self._follower.flush(SETUP)
        if code != 0:
            raise StackError(
                f"`{step.title}` ended with exit code {code}, so the stack stops. Its output is above (`{SETUP}`)."
            )

    def _await_ready(self) -> None:
        if self._plan.ready is None:
            return self._show_banner()
        try:
            # The pause is long, because the portal logs each response of `/readyz` that is not 200.
            self._wait("the portal", self._plan.ready, _READY_SECONDS, pause=1.0)
        except NotReady as error:
            # A busy machine needs longer. The reader still needs the addresses and the token.
            self._out.say(f"{error}\nThe stack keeps running. `manage.py devstack status` shows its programs.")
        return self._show_banner()

    def _show_banner(self) -> None:
        if self._plan.banner:
            banner = output_of(self._plan.banner, python=self._plan.python, project=self._plan.project)
            self._out.block(f"\n{banner}\n")
        self._out.block("Ctrl-C stops everything.\n")

    # -- while it runs -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        next_check = 0.0
        while not self._must_stop():
            self._check_supervisor()
            if time.monotonic() >= next_check:
                next_check = time.monotonic() + _CHECK_SECONDS
                self._report_changes()
            time.sleep(_PAUSE_SECONDS)

    def _report_changes(self) -> None:
        try:
            states = {state.name: state for state in self._supervisor.states()}
        except NoSupervisor:
            return  # the supervisor has just ended; the next check reports this
        for name, state in states.items():
            self._report_change(name, self._last.get(name, state), state)
        self._last = states

    def _report_change(self, name: str, before: State, now: State) -> None:
        if before.state not in {STOPPED, STOPPING} and now.state in {STOPPED, STOPPING}:
            self._stopped.add(name)
            self._out.say(f"{name} was stopped. Start it with `manage.py devstack start {name}`.")
        elif before.state == RUNNING and now.pid != before.pid:
            self._out.say(
                f"{name}: pid {before.pid} has ended; {f'pid {now.pid} replaces it' if now.pid else 'it is restarted'}"
            )
        elif name in self._stopped and now.state == RUNNING:
            self._stopped.remove(name)
            self._out.say(f"{name} is running again (pid {now.pid})")

    # -- down --------------------------------------------------------------------------------------------------------

    def _take_down(self) -> list[str]:
        """End all processes. Return the processes that could not be ended."""
        daemon = self._daemon
        if daemon is None:
            return []
        if daemon.poll() is None:
            self._out.say("Stopping the programs, then the servers. Press Ctrl-C again to kill them.")
            daemon.terminate()
            deadline = time.monotonic() + self._longest_stop()
            while daemon.poll() is None and not self._request.hurry and time.monotonic() < deadline:
                time.sleep(_PAUSE_SECONDS)
            if daemon.poll() is None:
                # The supervisor is killed first, because it would restart the other processes.
                daemon.kill()
                daemon.wait()
                kill_descendants()
        left = kill_descendants(patience=_ORPHAN_SECONDS)
        home.remove_socket_folder(self._plan.home)
        return left

    def _longest_stop(self) -> float:
        """Return the maximum time of an orderly stop.

        This is the sum of the times of the slowest program in each group, and a margin. Units: seconds.
        """
        return 15 + sum(max((p.stop_seconds for p in self._plan.group(group)), default=0) for group in (APPS, SERVERS))
