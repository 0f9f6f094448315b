"""Embedded servers for tests, as direct child processes on free ports.

    with embedded_servers(Path(folder)) as servers:
        servers.database_environment, servers.redis_url, servers.temporal_address, servers.temporal_cli
        servers.temporal.stop(); ...; servers.temporal.start()      # same port, same data
        servers.postgres.kill()                                     # as in a crash

There is no supervisor. So if a test stops a server, the server stays down until the test starts it again. The servers
end with the process that started them.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
from psycopg import sql

from portal.devstack import postgres as postgres_server
from portal.devstack import redis as redis_server
from portal.devstack import temporal as temporal_server
from portal.devstack import temporal_cli
from portal.devstack.child import command_tied_to
from portal.devstack.embedded import EmbeddedServer
from portal.devstack.errors import StackError
from portal.devstack.progress import Listener


class Servers:
    """Running servers.

    Errors: StackError for a server that the caller of `embedded_servers` excluded.
    """

    def __init__(self, home: Path, servers: Mapping[str, EmbeddedServer], cli: Path | None) -> None:
        self._home = home
        self._servers = servers
        self._cli = cli

    def _named(self, name: str) -> EmbeddedServer:
        if name not in self._servers:
            raise StackError(f"embedded_servers was called without {name}")
        return self._servers[name]

    @property
    def postgres(self) -> EmbeddedServer:
        return self._named("postgres")

    @property
    def redis(self) -> EmbeddedServer:
        return self._named("redis")

    @property
    def temporal(self) -> EmbeddedServer:
        return self._named("temporal")

    @property
    def temporal_cli(self) -> Path:
        """Return the path of the `temporal` binary. Use it with `--address {servers.temporal_address}`."""
        if self._cli is None:
            raise StackError("embedded_servers was called without temporal")
        return self._cli

    @property
    def database_url(self) -> str:
        """Return the URL for the login of the superuser. The portal itself never uses this login."""
        return self.database_urls[postgres_server.SUPERUSER]

    @property
    def database_environment(self) -> dict[str, str]:
        """Return the variable with the URL of each login of the portal."""
        return {variable: self.database_urls[login] for variable, login in postgres_server.VARIABLES.items()}

    @property
    def database_urls(self) -> dict[str, str]:
        """Return the URL of the database for each login."""
        logins = (postgres_server.SUPERUSER, *postgres_server.LOGINS)
        return {login: postgres_server.url(self._home, self.postgres.port, login) for login in logins}

    @property
    def redis_url(self) -> str:
        return redis_server.url(self.redis.port)

    @property
    def temporal_address(self) -> str:
        return temporal_server.address(self.temporal.port)


@contextlib.contextmanager
def embedded_servers(
    home: Path, *, postgres: bool = True, redis: bool = True, temporal: bool = True, temporal_in_memory: bool = False
) -> Iterator[Servers]:
    """Run servers with their files under `home`. At the end of the block, all servers have ended.

    PostgreSQL has the database `pointsman` and does not wait for the disk. Temporal stores its data in a file. So the
    data remains after a stop and a start. With `temporal_in_memory`, a stop loses the data.
    """
    home.mkdir(parents=True, exist_ok=True)
    servers: dict[str, EmbeddedServer] = {}
    if postgres:
        servers["postgres"] = _postgres(home)
    if redis:
        servers["redis"] = _redis(home)
    cli = temporal_cli.from_environment(Listener(_say)) if temporal else None
    if cli:
        servers["temporal"] = _temporal(home, cli, in_memory=temporal_in_memory)
    with ThreadPoolExecutor() as pool:
        try:
            for started in [pool.submit(server.start) for server in servers.values()]:
                started.result()
            yield Servers(home, servers, cli)
        finally:
            list(pool.map(EmbeddedServer.stop, servers.values()))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _postgres(home: Path) -> EmbeddedServer:
    data = postgres_server.data_folder(home)
    postgres_server.passwords(home)  # the server reads their file

    def command(port: int) -> list[str]:
        return postgres_server.server_command(
            python=sys.executable, parent=os.getpid(), data=data, port=port, fast=True
        )

    return EmbeddedServer(
        "postgres",
        command=command,
        problem=lambda port: postgres_server.problem(home, port),
        stop_signal=postgres_server.STOP_SIGNAL,
        log=home / "postgres.log",
        on_ready=lambda port: _prepare_database(home, port),
    )


def _prepare_database(home: Path, port: int) -> None:
    """Create logins and database. Tests may create more databases and switch triggers off as the owner."""
    postgres_server.ensure_database(home, port)
    owner = sql.Identifier(postgres_server.OWNER)
    with psycopg.connect(postgres_server.url(home, port, postgres_server.SUPERUSER), autocommit=True) as connection:
        connection.execute(sql.SQL("alter role {} createdb").format(owner))
        connection.execute(sql.SQL("grant set on parameter session_replication_role to {}").format(owner))


def _redis(home: Path) -> EmbeddedServer:
    data = home / "redis"
    data.mkdir(exist_ok=True)

    def command(port: int) -> list[str]:
        server = redis_server.server_command(data=data, port=port)
        return command_tied_to(os.getpid(), redis_server.STOP_SIGNAL, server, python=sys.executable)

    return EmbeddedServer(
        "redis",
        command=command,
        problem=redis_server.problem,
        stop_signal=redis_server.STOP_SIGNAL,
        log=home / "redis.log",
    )


def _temporal(home: Path, cli: Path, *, in_memory: bool) -> EmbeddedServer:
    folder = home / "temporal"
    folder.mkdir(exist_ok=True)
    database = None if in_memory else folder / "temporal.db"

    def command(port: int) -> list[str]:
        server = temporal_server.server_command(cli=cli, port=port, database=database)
        return command_tied_to(os.getpid(), temporal_server.STOP_SIGNAL, server, python=sys.executable)

    return EmbeddedServer(
        "temporal",
        command=command,
        problem=lambda port: temporal_server.problem(cli=cli, port=port),
        stop_signal=temporal_server.STOP_SIGNAL,
        log=home / "temporal.log",
    )
