"""Configuration file of the supervisor, and calls to the supervisor over its socket."""

import http.client
import shlex
import socket
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portal.devstack.errors import StackError
from portal.devstack.home import log_file, make_socket_path, socket_path
from portal.devstack.programs import GROUPS, Plan, Program

# If a program ends earlier, it counts as not started. The pause before its restart grows each time.
START_SECONDS = 2
LOG_BACKUPS = 3
_LOG_SIZE = "5MB"
_CALL_SECONDS = 10

RUNNING, STOPPED, STOPPING = "RUNNING", "STOPPED", "STOPPING"
# In these states there is no process, and the supervisor will not restart the program. EXITED is not one of these
# states, because a restart follows after a moment.
AT_REST = {STOPPED, "FATAL", "UNKNOWN"}


@dataclass(frozen=True)
class State:
    name: str
    group: str
    state: str
    pid: int
    uptime: float
    detail: str


def configuration(plan: Plan) -> str:
    """Return the text of supervisord.conf.

    The stack itself starts the programs in the right order. supervisord stops them group by group and begins with the
    last group.
    Errors: StackError for a path that the file cannot contain.
    """
    home = plan.home
    for path in (home, plan.project):
        # In supervisord.conf, these characters begin a comment, end the line, or are expanded. They cannot be quoted.
        if any(mark in str(path) for mark in (" #", " ;", "\n", "%")):
            raise StackError(
                f"The path {str(path)!r} cannot be used, because supervisord.conf cannot contain ' #', ' ;' or '%'."
                " Use another folder."
            )
    sections = [
        _section("unix_http_server", {"file": make_socket_path(home), "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "nodaemon": "true",
                "silent": "true",
                "logfile": log_file(home, "supervisord"),
                "logfile_maxbytes": _LOG_SIZE,
                "logfile_backups": 1,
                "pidfile": home / "supervisor" / "supervisord.pid",
                "childlogdir": home / "logs",
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
    ]
    for priority, group in enumerate(GROUPS, start=1):
        if programs := plan.group(group):
            names = ",".join(program.name for program in programs)
            sections.append(_section(f"group:{group}", {"programs": names, "priority": priority}))
    sections += [_program(plan, program) for program in plan.programs]
    return "\n".join(sections)


def _program(plan: Plan, program: Program) -> str:
    variables = {"PYTHONUNBUFFERED": "1", **program.environment}
    return _section(
        f"program:{program.name}",
        {
            "command": _command(program.command),
            "directory": plan.project,
            "environment": ",".join(f'{name}="{value}"' for name, value in variables.items()),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": START_SECONDS,
            "startretries": 1_000_000_000,  # without limit; supervisord.py limits the pause between restarts
            "stopsignal": program.stop_signal.name.removeprefix("SIG"),
            "stopwaitsecs": program.stop_seconds,
            # Only the program itself gets the stop signal, and it stops its children in order. SIGKILL is sent to the
            # program and its children.
            "stopasgroup": "false",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": log_file(plan.home, program.name),
            "stdout_logfile_maxbytes": _LOG_SIZE,
            "stdout_logfile_backups": LOG_BACKUPS,
        },
    )


def _section(name: str, values: dict[str, Any]) -> str:
    # Supervisor expands %(...)s in every value.
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])


def _command(words: Iterable[str]) -> str:
    # After a space, these characters begin a comment even inside quotes. The inserted '' does not change the word.
    return shlex.join(words).replace(" #", " ''#").replace(" ;", " '';")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_CALL_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CALL_SECONDS)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = host, connection  # `close` of the base class closes it
        return connection


class NoSupervisor(StackError):
    """The supervisor does not respond, or it is shutting down."""


class Supervisor:
    """Client of the supervisor of one home. Every call opens a new connection. Errors: NoSupervisor, StackError."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def _call(self, method: str, *arguments: Any) -> Any:
        path = socket_path(self._home)
        if path is None:
            raise NoSupervisor("The supervisor has no socket yet.")
        with xmlrpc.client.ServerProxy("http://localhost", transport=_UnixTransport(path)) as proxy:
            try:
                return getattr(proxy.supervisor, method)(*arguments)
            except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
                raise NoSupervisor(f"The supervisor does not respond: {error}") from error
            except xmlrpc.client.Fault as fault:
                if fault.faultString == "SHUTDOWN_STATE":
                    raise NoSupervisor("The supervisor is shutting down.") from fault
                raise StackError(fault.faultString) from fault

    def problem(self) -> str:
        """Return "" if the supervisor responds, otherwise the problem."""
        try:
            self._call("getState")
        except StackError as error:
            return str(error)
        return ""

    def has_ended(self) -> bool:
        """Return True if no process listens on the socket. The supervisor still listens while it shuts down."""
        path = socket_path(self._home)
        if path is None:
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                return True
        return False

    def states(self) -> list[State]:
        """Return the state of each program, servers first."""
        states = [_state(info) for info in self._call("getAllProcessInfo")]
        return sorted(states, key=lambda state: GROUPS.index(state.group))

    def state(self, name: str) -> State:
        """Return the state of one program. Errors: StackError with the known names."""
        states = {state.name: state for state in self.states()}
        if name not in states:
            raise StackError(f"There is no program {name!r}. The programs are: {', '.join(states)}.")
        return states[name]

    def start(self, name: str) -> None:
        """Request the start of the program, unless it is running or restarting."""
        state = self.state(name)
        if state.state in AT_REST:
            self._call("startProcess", f"{state.group}:{name}", False)

    def stop(self, name: str) -> None:
        """Request the stop of the program, unless it is stopped or stopping."""
        state = self.state(name)
        if state.state not in AT_REST and state.state != STOPPING:
            self._call("stopProcess", f"{state.group}:{name}", False)

    def shut_down(self) -> None:
        self._call("shutdown")


def _state(info: dict[str, Any]) -> State:
    alive = info["pid"] != 0
    return State(
        name=info["name"],
        group=info["group"],
        state=info["statename"],
        pid=info["pid"],
        uptime=max(0.0, float(info["now"] - info["start"])) if alive else 0.0,
        detail="" if alive else info["spawnerr"],
    )
