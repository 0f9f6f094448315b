"""Embedded servers keep their data over a stop and a crash, and end with their owner."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from portal.devstack.child import PROJECT
from portal.devstack.embedded import EmbeddedServer
from portal.devstack.errors import StackError
from portal.devstack.ports import listens
from portal.devstack.servers import Servers, embedded_servers
from portal.devstack.waiting import wait_until

SECONDS = 60.0


@pytest.fixture
def servers(home: Path) -> Iterator[Servers]:
    with embedded_servers(home) as running:
        yield running


def temporal(servers: Servers, *arguments: str) -> str:
    command = [str(servers.temporal_cli), *arguments, "--address", servers.temporal_address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS).stdout


def write(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("create table kept (word text)")
        connection.execute("insert into kept values ('überführt')")
    redis.Redis.from_url(servers.redis_url).xadd("kept", {"word": "stream"})
    temporal(servers, "workflow", "start", "--workflow-id", "kept", "--type", "Kept", "--task-queue", "none")


def check(servers: Servers) -> None:
    with psycopg.connect(servers.database_url) as connection:
        # The admin's search needs upper case beyond ASCII.
        assert connection.execute("select upper(word) from kept").fetchone() == ("ÜBERFÜHRT",)
        assert connection.execute("select current_setting('max_connections')").fetchone() == ("100",)
    [(_, fields)] = redis.Redis.from_url(servers.redis_url).xrange("kept")
    assert fields == {b"word": b"stream"}
    assert "Kept" in temporal(servers, "workflow", "describe", "--workflow-id", "kept")


@pytest.mark.parametrize("end", [EmbeddedServer.stop, EmbeddedServer.kill], ids=["stopped", "killed"])
def test_data_survives_the_process(servers: Servers, end: Callable[[EmbeddedServer], None]) -> None:
    write(servers)
    for server in (servers.postgres, servers.redis, servers.temporal):
        port, pid = server.port, server.pid
        end(server)
        assert not server.running
        with pytest.raises(StackError, match="is not running"):
            _ = server.pid
        # A test may start the server from a thread that ends afterwards.
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        assert server.port == port
        assert server.pid != pid
        assert listens(server.pid, port)
    check(servers)


def test_excluded_servers_are_not_started(home: Path) -> None:
    with embedded_servers(home, postgres=False, temporal=False) as servers:
        assert redis.Redis.from_url(servers.redis_url).ping()
        with pytest.raises(StackError, match="without postgres"):
            _ = servers.database_url
        with pytest.raises(StackError, match="without temporal"):
            _ = servers.temporal_cli


def test_port_that_is_taken_meanwhile_is_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedded_servers(home / "first", postgres=False, temporal=False) as first:
        taken = first.redis.port
        free = iter([taken])
        choose = EmbeddedServer.__init__.__globals__["ports"].free_port
        monkeypatch.setattr("portal.devstack.ports.free_port", lambda: next(free, None) or choose())
        with embedded_servers(home / "second", postgres=False, temporal=False) as second:
            assert second.redis.port != taken
            assert redis.Redis.from_url(second.redis_url).ping()


def test_error_of_a_server_that_cannot_start_contains_the_end_of_its_log(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.devstack.embedded._ATTEMPTS", 2)
    (home / "redis" / "appendonly.aof").mkdir(parents=True)
    with (
        pytest.raises(StackError, match=r"redis ended 2 times before it was ready; the end of .*redis\.log:\n.+"),
        embedded_servers(home, postgres=False, temporal=False),
    ):
        pass


def test_servers_end_when_their_owner_is_killed(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from portal.devstack.servers import embedded_servers\n"
        "with embedded_servers(Path(sys.argv[1])) as s:\n"
        "    print(s.postgres.pid, s.redis.pid, s.temporal.pid, flush=True); time.sleep(600)\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(home)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert owner.stdout is not None
    with owner.stdout as lines:
        servers = [psutil.Process(int(pid)) for pid in lines.readline().split()]
    assert len(servers) == 3
    backends = servers[0].children()
    owner.send_signal(signal.SIGKILL)
    owner.wait(timeout=SECONDS)

    def alive() -> str:
        return ", ".join(
            p.name() for p in [*servers, *backends] if p.is_running() and p.status() != psutil.STATUS_ZOMBIE
        )

    wait_until("the end of the servers", alive, seconds=SECONDS)


def test_other_users_get_only_passage_to_the_data_folder(home: Path) -> None:
    is_root = os.geteuid() == 0
    secret = home / "secret"
    home.mkdir(mode=0o700)
    secret.touch(mode=0o600)
    with embedded_servers(home, redis=False, temporal=False) as servers:
        assert psutil.Process(servers.postgres.pid).username() == (
            "pgserver" if is_root else psutil.Process().username()
        )
    assert home.stat().st_mode & 0o777 == (0o701 if is_root else 0o700)
    assert secret.stat().st_mode & 0o777 == 0o600
    assert (home / "postgres").stat().st_mode & 0o777 == 0o700
