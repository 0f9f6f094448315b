"""Checks for free ports, and search for the process that uses a port."""

import errno
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from portal.devstack.errors import StackError

LOOPBACK = "127.0.0.1"
# Free ports are chosen below the kernel's range for outgoing connections. Inside that range, a client that retries a
# stopped server can connect to itself, and then occupies the server's port.
_LOWEST = 20_000
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_DEFAULT = 32_768


@dataclass(frozen=True)
class PortUse:
    """Port on which the stack will listen."""

    program: str
    host: str
    port: int
    variable: str


def listen_error(host: str, port: int) -> OSError | None:
    """Return the error that a server would get when it listens on the port, or None."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Servers set this option too. With it, connections of an earlier run that are still closing do not block
            # the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def free_port() -> int:
    """Return a port of the loopback interface that no process uses now.

    Another process may use the port before the caller does. Then the caller must try again.
    """
    highest = _EPHEMERAL_DEFAULT
    if _EPHEMERAL_RANGE.exists():
        highest = int(_EPHEMERAL_RANGE.read_text().split()[0])
    choices = range(_LOWEST, highest) if highest - _LOWEST >= 1000 else range(_LOWEST, 60_000)
    for port in random.sample(choices, min(500, len(choices))):
        if listen_error(LOOPBACK, port) is None:
            return port
    raise StackError(
        f"No free port was found between {choices.start} and {choices.stop - 1}. Stop other programs, then try again."
    )


def listens(pid: int, port: int) -> bool:
    """Return True if this process listens on the port. Another process may have taken the port first."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


def holder(port: int) -> str:
    """Return name and pid of the process that listens on the port.

    Return "" if the process cannot be found, for example because it belongs to another user.
    """
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
    """Check that all ports are free.

    Errors: StackError. Its message names each port that is in use, and the variable that changes this port.
    """
    problems = [problem for use in uses if (problem := _problem(use))]
    by_port: dict[int, PortUse] = {}
    for use in uses:
        if use.port in by_port:
            problems.append(f"{use.variable} and {by_port[use.port].variable} are both {use.port}. Change one of them.")
        by_port.setdefault(use.port, use)
    if problems:
        raise StackError("\n".join(problems))


def _problem(use: PortUse) -> str:
    error = listen_error(use.host, use.port)
    if error is None:
        return ""
    if error.errno == errno.EADDRINUSE:
        process = holder(use.port)
        return (
            f"Port {use.port} of {use.program} is in use{f' by {process}' if process else ''}. "
            f"Stop that process, or set {use.variable} to another port."
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            f"Port {use.port} of {use.program} is not allowed for this user. Set {use.variable} to a port above 1023."
        )
    return (
        f"{use.program} cannot listen on {use.host}:{use.port} ({error.strerror or error}). "
        f"Check {use.variable}{' and HOST' if use.host != LOOPBACK else ''}."
    )
