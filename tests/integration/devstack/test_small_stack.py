"""Supervision of real processes: restarts, deliberate stops, and no process after the end of the stack."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from portal.devstack.child import PROJECT
from portal.devstack.control import Control, StackNotRunning
from portal.devstack.errors import StackError
from portal.devstack.home import running_pid

StartStack = Callable[..., Any]  # `SmallStack` of conftest.py
SECONDS = 60.0


def test_programs_start_in_order_and_lines_carry_program_names(small_stack: StartStack, home: Path) -> None:
    stack = small_stack("base", "alpha").await_up()
    stack.eventually("alpha's first line", lambda: re.search(r"^alpha    \| alpha runs as \d+$", stack.printed, re.M))
    assert stack.end(signal.SIGINT) == 0

    assert stack.printed.index("hello from setup\n") < stack.printed.index("alpha runs"), stack.printed
    for line in (
        "base     | base runs",
        "setup    | hello from setup\n",  # the program printed no line end
        "alpha    | alpha stops on SIGTERM",
        "base     | base stops on SIGTERM",
    ):
        assert line in stack.printed
    # The output has no reliable order between programs. The supervisor's log has.
    log = (home / "logs" / "supervisord.log").read_text()
    assert 0 < log.index("spawned: 'base'") < log.index("spawned: 'alpha'")
    assert 0 < log.index("stopped: alpha") < log.index("stopped: base")
    assert "Ctrl-C stops everything" in stack.printed


def test_portal_that_is_ready_late_still_has_its_addresses_printed(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha", "unready").await_up()
    assert "the portal is not ready after 1 s: it starts" in stack.printed
    stack.eventually("the end of the banner", lambda: "Ctrl-C stops everything" in stack.printed)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stop_signal_ends_every_process(small_stack: StartStack, home: Path, signum: signal.Signals) -> None:
    stack = small_stack("base", "alpha", "beta:forking").await_up()
    stack.eventually("beta's worker", lambda: "has worker" in stack.printed)
    family = stack.family()
    assert len(family) == 6  # run, supervisor, three programs, a worker

    assert stack.end(signum) == 0
    assert stack.all_gone(family)
    assert running_pid(home) is None


def test_closed_terminal_or_pipe_stops_the_stack(small_stack: StartStack) -> None:
    # A terminal signals only the leader of its session, which may be `make`. A pipe sends no signal.
    reading, writing = os.pipe()
    stack = small_stack("base", "alpha:forking", output=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert any(b"has worker" in line for line in pipe)
        family = stack.family()
    assert stack.process.wait(timeout=SECONDS) == 0
    assert stack.all_gone(family)


def test_failed_setup_stops_the_stack_and_shows_its_output(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha", "setup:failing")
    assert stack.process.wait(timeout=SECONDS) == 1
    assert "setup    | no such table" in stack.printed
    assert "`greeting` ended with exit code 3" in stack.printed
    assert "base stops" in stack.printed
    assert "alpha runs" not in stack.printed


def test_stop_during_setup_ends_the_stack(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha", "setup:endless")
    stack.eventually("the setup", lambda: "migrating" in stack.printed)
    family = stack.family()
    assert stack.end(signal.SIGTERM) == 0
    assert stack.all_gone(family)
    assert "alpha runs" not in stack.printed


def test_every_process_ends_when_run_is_killed(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha", "beta:forking").await_up()
    stack.eventually("beta's worker", lambda: "has worker" in stack.printed)
    family = stack.family()

    stack.end(signal.SIGKILL)
    stack.eventually("the end of the family", lambda: stack.all_gone(family))


def test_every_process_ends_when_the_supervisor_is_killed(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha", "beta:forking").await_up()
    stack.eventually("beta's worker", lambda: "has worker" in stack.printed)
    family = stack.family()
    supervisor = psutil.Process(stack.process.pid).children()[0]

    supervisor.kill()
    assert stack.process.wait(timeout=SECONDS) == 1
    assert "The supervisor ended" in stack.printed
    assert stack.all_gone(family)


def test_programs_end_when_run_and_supervisor_are_killed(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha").await_up()
    family = stack.family()
    run, supervisor, *programs = family
    # A suspended supervisor cannot react to the death of `run`. Then it is killed too.
    supervisor.suspend()
    run.kill()
    stack.process.wait(timeout=SECONDS)
    supervisor.kill()
    stack.eventually("the end of the programs", lambda: stack.all_gone(programs))


def test_second_interrupt_kills_a_stubborn_program(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha:stubborn").await_up()
    stack.await_running("alpha")
    family = stack.family()
    stack.process.send_signal(signal.SIGINT)
    stack.eventually("the stop", lambda: "Stopping" in stack.printed)

    def interrupted() -> bool:
        # Repeated, because an early one counts as the same key press.
        stack.process.send_signal(signal.SIGINT)
        return stack.process.poll() is not None

    stack.eventually("the end", interrupted)
    assert stack.process.returncode == 0
    assert stack.all_gone(family)


def test_killed_program_restarts_and_its_workers_are_ended(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha:forking").await_up()
    before = stack.await_running("alpha").pid
    workers = psutil.Process(before).children()
    assert len(workers) == 1

    psutil.Process(before).kill()
    stack.eventually("another alpha", lambda: stack.state("alpha").pid not in {0, before})
    stack.eventually("the end of its worker", lambda: stack.all_gone(workers))
    assert stack.await_running("alpha").pid != before


def test_program_that_ends_at_once_is_restarted_repeatedly(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha:dying").await_up()
    stack.eventually("three starts", lambda: stack.printed.count("alpha runs as") >= 3)
    assert stack.state("alpha").state in {"BACKOFF", "STARTING"}


def test_program_stopped_by_a_user_stays_stopped(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha", "beta").await_up()
    stack.await_running("alpha")
    beta = stack.await_running("beta").pid
    stack.control.stop("alpha")
    assert re.match(r"alpha +STOPPED", stack.said[-1])
    stack.eventually("the message", lambda: "alpha was stopped." in stack.printed)

    # The supervisor restarts the killed beta. By then, it would also have restarted alpha.
    psutil.Process(beta).kill()
    stack.eventually("another beta", lambda: stack.state("beta").pid not in {0, beta})
    assert stack.await_running("beta").pid != beta
    assert stack.state("alpha").state == "STOPPED"
    stack.control.stop("alpha")  # harmless

    stack.control.start("alpha")
    assert re.match(r"alpha +RUNNING +\d+", stack.said[-1])
    stack.eventually("the message", lambda: "alpha is running again" in stack.printed)


def test_restarting_program_can_be_stopped(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha:dying").await_up()
    stack.control.stop("alpha")
    assert stack.state("alpha").state == "STOPPED"


def test_status_restart_and_unknown_names(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha").await_up()
    before = stack.await_running("alpha").pid
    stack.control.status()
    assert f"(pid {stack.process.pid})" in stack.said[0]
    assert re.match(r"base +RUNNING +\d+ +0:00:\d\d$", stack.said[2])
    assert re.match(r"alpha +RUNNING +\d+ +0:00:\d\d$", stack.said[3])

    stack.control.restart("alpha")
    assert stack.state("alpha").pid not in {0, before}

    for action in (stack.control.stop, stack.control.start, stack.control.restart):
        with pytest.raises(StackError, match="no program 'gamma'. The programs are: base, alpha"):
            action("gamma")


def test_stop_without_a_name_stops_the_stack(small_stack: StartStack) -> None:
    stack = small_stack("base", "alpha").await_up()
    family = stack.family()
    stack.control.stop_all()
    assert stack.process.wait(timeout=SECONDS) == 0
    assert stack.all_gone(family)
    with pytest.raises(StackNotRunning, match="not running"):
        stack.control.status()


def test_every_action_fails_without_a_running_stack(home: Path) -> None:
    control = Control(home, lambda line: None)
    actions = [control.status, control.stop_all, lambda: control.stop("web"), lambda: control.start("web")]
    for action in actions:
        with pytest.raises(StackNotRunning, match="The stack is not running"):
            action()


def test_second_run_in_the_same_home_is_refused(small_stack: StartStack, home: Path) -> None:
    first = small_stack("base").await_up()
    program = Path(__file__).with_name("small_stack.py")
    second = subprocess.run(
        [sys.executable, str(program), str(home), "base"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=SECONDS,
    )
    assert second.returncode == 1
    assert f"already running (pid {first.process.pid})" in second.stderr
    assert "devstack stop" in second.stderr
    assert first.await_running("base")


def test_home_with_a_long_and_unusual_path_works(small_stack: StartStack, home: Path) -> None:
    odd = home / ("too-long-for-a-socket" * 5) / "and 'quoted' with blanks"
    stack = small_stack("base", "alpha", home=odd).await_up()
    socket_folder = Path((odd / "supervisor" / "socket-folder").read_text())
    assert socket_folder.stat().st_mode & 0o777 == 0o700
    stack.await_running("alpha")
    assert stack.end(signal.SIGTERM) == 0
    assert not socket_folder.exists()


@pytest.mark.parametrize("name", ["my #1", "100%(here)s"])
def test_home_that_supervisord_cannot_parse_is_refused(small_stack: StartStack, home: Path, name: str) -> None:
    stack = small_stack("base", home=home / name)
    assert stack.process.wait(timeout=SECONDS) == 1
    assert "cannot be used" in stack.printed
