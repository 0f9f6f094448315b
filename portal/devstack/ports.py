"""Ports: which are free, and who holds one that is not."""

import errno
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from portal.devstack.errors import StackError

LOOPBACK = "127.0.0.1"
# Free ports are taken below the range from which the kernel takes the local ports of outgoing connections. In it, a client
# that keeps trying to reach a stopped server can end up connected to itself, and then holds the server's port.
_LOWEST = 20_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_DEFAULT = 32_768


@dataclass(frozen=True)
class PortUse:
    """A port that the stack is going to listen on."""

    program: str
    host: str
    port: int
    variable: str


def why_not_free(host: str, port: int) -> OSError | None:
    """The error that a server would meet when it listens there; None when it would meet none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As servers do, so that connections of an earlier run that are still closing do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now. It may be taken a moment later: callers try again."""
    highest = _EPHEMERAL_DEFAULT
    if _EPHEMERAL_RANGE.exists():
        highest = int(_EPHEMERAL_RANGE.read_text().split()[0])
    choices = range(_LOWEST, highest) if highest - _LOWEST >= 1000 else range(_LOWEST, 60_000)
    for port in random.sample(choices, min(500, len(choices))):
        if why_not_free(LOOPBACK, port) is None:
            return port
    raise StackError(f"no free port found between {choices.start} and {choices.stop - 1}")


def listens(pid: int, port: int) -> bool:
    """Whether exactly this process listens on the port (and not a stranger that was faster)."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


def holder(port: int) -> str:
    """Words for the process that listens on the port, or "" when it cannot be found (it may be another user's)."""
    try:
        pids = {
            c.pid
            for c in psutil.net_connections(kind="tcp")
            if c.status == psutil.CONN_LISTEN and c.laddr.port == port and c.pid
        }
        processes = [psutil.Process(pid) for pid in sorted(pids)]
        return ", ".join(f"{process.name()} (pid {process.pid})" for process in processes)
    except psutil.Error:
        return ""


def check_ports(uses: Sequence[PortUse]) -> None:
    """Passes when every port can be had. Errors: StackError that names each port that cannot, and its variable."""
    problems = [problem for use in uses if (problem := _problem(use))]
    by_port: dict[int, PortUse] = {}
    for use in uses:
        if use.port in by_port:
            problems.append(f"{use.variable} and {by_port[use.port].variable} are both {use.port}; change one of them.")
        by_port.setdefault(use.port, use)
    if problems:
        raise StackError("\n".join(problems))


def _problem(use: PortUse) -> str:
    error = why_not_free(use.host, use.port)
    if error is None:
        return ""
    if error.errno == errno.EADDRINUSE:
        who = holder(use.port)
        return (
            f"Port {use.port}, wanted by {use.program}, is in use{f' by {who}' if who else ''}. "
            f"Stop what uses it, or set {use.variable} to another port."
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"Port {use.port}, wanted by {use.program}, is not allowed to this user. Set {use.variable} to a higher one."
    return (
        f"{use.program} cannot listen on {use.host}:{use.port} ({error.strerror or error}). "
        f"Check {use.variable}{' and HOST' if use.host != LOOPBACK else ''}."
    )
