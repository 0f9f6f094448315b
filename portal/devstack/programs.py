"""Programs of the stack: their commands, their order, and their readiness."""

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from portal.devstack import postgres, redis, temporal, web
from portal.devstack.config import StackConfig
from portal.devstack.errors import StackError
from portal.devstack.ports import LOOPBACK, PortUse
from portal.devstack.waiting import Probe

# Groups start in this order and stop in reverse order. The programs of a group start and stop together.
SERVERS, APPS = GROUPS = ("servers", "apps")


@dataclass(frozen=True)
class Program:
    name: str
    group: str
    command: Sequence[str]
    # The program gets `stop_signal`. After `stop_seconds`, it and all of its children get SIGKILL.
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: int = 10
    environment: Mapping[str, str] = field(default_factory=dict)
    # The probe. A program without a probe is ready when it has stayed up for a moment.
    problem: Probe | None = None


@dataclass(frozen=True)
class Step:
    """Command that must succeed after the start of the servers and before the start of the apps."""

    title: str
    command: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """Plan of one `devstack run`. Tests use plans with small programs."""

    home: Path
    project: Path
    python: str
    programs: Sequence[Program]
    prepare: Callable[[], None] = lambda: None
    steps: Sequence[Step] = ()
    ready: Probe | None = None
    banner: Sequence[str] = ()

    def group(self, name: str) -> list[Program]:
        return [program for program in self.programs if program.group == name]


def port_uses(config: StackConfig) -> list[PortUse]:
    """Return every port on which the stack will listen."""
    uses = [PortUse("web", config.host, config.port, "PORT")]
    if "postgres" in config.embedded:
        uses.append(PortUse("PostgreSQL", LOOPBACK, config.postgres_port, "POSTGRES_PORT"))
    if "redis" in config.embedded:
        uses.append(PortUse("Redis", LOOPBACK, config.redis_port, "REDIS_PORT"))
    if "temporal" in config.embedded:
        uses.append(PortUse("Temporal", LOOPBACK, config.temporal_port, "TEMPORAL_PORT"))
        uses.append(PortUse("Temporal's UI", LOOPBACK, config.temporal_ui_port, "TEMPORAL_UI_PORT"))
    return uses


def plan(config: StackConfig, cli: Path | None) -> Plan:
    """Return the plan of the real stack. `cli` is None if Temporal is not embedded."""
    manage = [config.python, str(config.project / "manage.py")]
    return Plan(
        home=config.home,
        project=config.project,
        python=config.python,
        programs=[*_servers(config, cli), *_apps(config, manage)],
        prepare=lambda: _make_database(config),
        steps=[
            Step("manage.py migrate", [*manage, "migrate", "--noinput"]),
            Step("manage.py demo_load", [*manage, "demo_load"]),
        ],
        ready=lambda: web.problem(config, "/readyz"),
        banner=[*manage, "demo_credentials"],
    )


def _make_database(config: StackConfig) -> None:
    if "postgres" in config.embedded:
        postgres.ensure_database(config.home, config.postgres_port)


def _servers(config: StackConfig, cli: Path | None) -> list[Program]:
    servers = []
    if "postgres" in config.embedded:
        servers.append(_postgres(config))
    if "redis" in config.embedded:
        servers.append(_redis(config))
    if "temporal" in config.embedded:
        if cli is None:
            raise StackError(
                "The embedded Temporal server needs the Temporal CLI. Set TEMPORAL_CLI or TEMPORAL_ADDRESS."
            )
        servers.append(_temporal(config, cli))
    return servers


def _postgres(config: StackConfig) -> Program:
    # The parent is the supervisor. Its pid is not known yet, so the command line has 0.
    data = postgres.data_folder(config.home)
    postgres.require_passwords(data)
    return Program(
        "postgres",
        SERVERS,
        postgres.server_command(python=config.python, parent=0, data=data, port=config.postgres_port),
        stop_signal=postgres.STOP_SIGNAL,
        stop_seconds=20,
        problem=lambda: postgres.problem(config.home, config.postgres_port),
    )


def _redis(config: StackConfig) -> Program:
    return Program(
        "redis",
        SERVERS,
        redis.server_command(data=config.home / "redis", port=config.redis_port),
        stop_signal=redis.STOP_SIGNAL,
        problem=lambda: redis.problem(config.redis_port),
    )


def _temporal(config: StackConfig, cli: Path) -> Program:
    command = temporal.server_command(
        cli=cli,
        port=config.temporal_port,
        ui_port=config.temporal_ui_port,
        database=config.home / "temporal" / "temporal.db",
        namespace=config.temporal_namespace,
    )
    return Program(
        "temporal",
        SERVERS,
        command,
        stop_signal=temporal.STOP_SIGNAL,
        problem=lambda: temporal.problem(cli=cli, port=config.temporal_port, namespace=config.temporal_namespace),
    )


def _apps(config: StackConfig, manage: list[str]) -> list[Program]:
    celery = [config.python, "-m", "celery", "-A", "portal"]
    # The web process and the Temporal worker use a connection pool. Celery does not
    # (docs/architecture.md#facts-found-by-trial).
    pool = {"DATABASE_POOL": "true"}
    # The worker has a fixed name. Otherwise the broker would keep queues of dead workers.
    worker = ["-c", "2", "-l", "INFO", "-n", "pointsman@localhost", "--without-mingle", "--without-gossip"]
    schedule = str(config.home / "celery" / "beat-schedule")
    drain = int(config.temporal_drain_seconds) + 10
    return [
        Program(
            "web",
            APPS,
            [*manage, "web_server"],
            stop_seconds=15,  # running requests get 10 s
            environment=pool,
            problem=lambda: web.problem(config, "/healthz"),
        ),
        Program("worker", APPS, [*manage, "temporal_worker"], stop_seconds=drain, environment=pool),
        # If Celery 5.7 stops while two tasks run, it waits 30 s for a task that has already ended
        # (`_ensure_messages_consumed` of billiard). The supervisor may kill it earlier and loses nothing. Tasks are
        # acknowledged late, and the sweep finds unfinished work.
        Program("celery", APPS, [*celery, "worker", *worker], stop_seconds=10, environment={"DATABASE_POOL": "false"}),
        Program("beat", APPS, [*celery, "beat", "-l", "WARNING", "-s", schedule, "--pidfile="], stop_seconds=5),
        # The consumer has a fixed name. So a restarted consumer continues at once with the entries of the killed
        # process.
        Program("stream", APPS, [*manage, "consume_events", "--consumer", "devstack"], stop_seconds=10),
    ]
