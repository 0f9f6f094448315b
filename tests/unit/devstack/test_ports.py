"""Busy ports are found before anything starts. The message names the process and the variable to change."""

import os
import socket
from collections.abc import Iterator

import pytest

from portal.devstack.errors import StackError
from portal.devstack.ports import PortUse, check_ports, free_port, listens


@pytest.fixture
def busy() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_free_ports_pass() -> None:
    first = free_port()
    check_ports([PortUse("web", "127.0.0.1", first, "PORT")])
    assert not listens(os.getpid(), first)


def test_message_names_busy_port_process_and_variable(busy: int) -> None:
    free = free_port()
    with pytest.raises(StackError) as caught:
        check_ports([PortUse("web", "127.0.0.1", free, "PORT"), PortUse("Redis", "127.0.0.1", busy, "REDIS_PORT")])
    message = str(caught.value)
    assert f"Port {busy} of Redis is in use by " in message
    assert f"(pid {os.getpid()})" in message
    assert "set REDIS_PORT to another port" in message
    assert str(free) not in message
    assert listens(os.getpid(), busy)


def test_message_names_every_busy_port(busy: int) -> None:
    uses = [PortUse("web", "0.0.0.0", busy, "PORT"), PortUse("Redis", "127.0.0.1", busy, "REDIS_PORT")]
    with pytest.raises(StackError) as caught:
        check_ports(uses)
    assert f"Port {busy} of web" in str(caught.value)
    assert f"Port {busy} of Redis" in str(caught.value)


def test_same_port_for_two_programs_is_refused() -> None:
    port = free_port()
    uses = [PortUse("web", "127.0.0.1", port, "PORT"), PortUse("Redis", "127.0.0.1", port, "REDIS_PORT")]
    with pytest.raises(StackError, match=f"REDIS_PORT and PORT are both {port}"):
        check_ports(uses)


def test_message_for_a_foreign_address_names_host_variable() -> None:
    with pytest.raises(StackError, match=r"web cannot listen on 192\.0\.2\.1:\d+ .*PORT and HOST"):
        check_ports([PortUse("web", "192.0.2.1", free_port(), "PORT")])


def test_port_with_closing_connections_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address):
            server.accept()[0].close()  # the server closes first, so its side stays in TIME_WAIT
    check_ports([PortUse("web", "127.0.0.1", address[1], "PORT")])
