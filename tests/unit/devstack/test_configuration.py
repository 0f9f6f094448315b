"""The supervisor's configuration as supervisord parses it, and the programs of the stack."""

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from supervisor.options import UnhosedConfigParser

from portal.devstack import home, programs
from portal.devstack.config import StackConfig
from portal.devstack.errors import StackError
from portal.devstack.programs import APPS, SERVERS, Plan, Program
from portal.devstack.supervision import configuration


@pytest.fixture
def config(tmp_path: Path) -> StackConfig:
    return StackConfig(
        home=tmp_path / "home",
        cache=tmp_path / "cache",
        project=tmp_path / "project",
        python="/venv/bin/python",
        host="127.0.0.1",
        port=8000,
        postgres_port=15432,
        redis_port=16379,
        temporal_port=17233,
        temporal_ui_port=18233,
        embedded=frozenset({"postgres", "redis", "temporal"}),
        temporal_cli="",
        temporal_namespace="default",
        temporal_drain_seconds=20,
        public_url="http://127.0.0.1:8000",
    )


def parse(plan: Plan) -> UnhosedConfigParser:
    home.make_folders(plan.home)
    parser = UnhosedConfigParser()
    parser.expansions = {}
    parser.read_string(configuration(plan))
    return parser


def small_plan(folder: Path, *command: str) -> Plan:
    return Plan(
        home=folder / "home",
        project=folder,
        python="python",
        programs=[Program("one", APPS, command, environment={"RATE": "50%"})],
    )


@pytest.mark.parametrize(
    "word", ["plain", "with blank", "50%(here)s", "a #b", "a ;b", "it's", 'a "quote"', "$HOME", "-k ''", "ü", ""]
)
def test_supervisord_parses_command_words_unchanged(tmp_path: Path, word: str) -> None:
    parser = parse(small_plan(tmp_path, "/bin/echo", word, "end"))
    command = parser.saneget("program:one", "command", "", do_expand=True, expansions={"here": "/"})
    assert shlex.split(command) == ["/bin/echo", word, "end"]


def test_programs_restart_without_limit_but_do_not_start_automatically(tmp_path: Path) -> None:
    section = dict(parse(small_plan(tmp_path, "true")).items("program:one"))
    assert section["autorestart"] == "true"
    assert section["autostart"] == "false"
    assert int(section["startretries"]) > 10**6
    assert section["killasgroup"] == "true"
    assert section["environment"] == 'PYTHONUNBUFFERED="1",RATE="50%%"'


def test_apps_stop_before_servers(config: StackConfig) -> None:
    parser = parse(programs.plan(config, Path("/cache/temporal")))
    assert parser.get("group:servers", "programs") == "postgres,redis,temporal"
    assert parser.get("group:apps", "programs") == "web,worker,celery,beat,stream"
    # supervisord stops the group with the highest number first.
    assert int(parser.get("group:apps", "priority")) > int(parser.get("group:servers", "priority"))
    assert parser.get("program:postgres", "stopsignal") == "INT"
    assert parser.get("unix_http_server", "chmod") == "0700"


@pytest.mark.parametrize("name", ["my #1", "my ;1", "100%", "two\nlines"])
def test_path_that_supervisord_cannot_parse_is_refused(tmp_path: Path, name: str) -> None:
    plan = replace(small_plan(tmp_path, "true"), home=tmp_path / name)
    with pytest.raises(StackError, match="cannot be used"):
        configuration(plan)


def test_server_with_an_address_variable_is_not_started(config: StackConfig) -> None:
    config = replace(config, embedded=frozenset({"redis"}))
    plan = programs.plan(config, None)
    assert [program.name for program in plan.group(SERVERS)] == ["redis"]
    assert [use.variable for use in programs.port_uses(config)] == ["PORT", "REDIS_PORT"]
    assert config.replaced() == {"postgres": "DATABASE_URL", "temporal": "TEMPORAL_ADDRESS"}


def test_every_port_of_the_full_stack_is_checked(config: StackConfig) -> None:
    variables = {use.variable for use in programs.port_uses(config)}
    assert variables == {"PORT", "POSTGRES_PORT", "REDIS_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT"}


def test_only_web_and_worker_use_the_connection_pool(config: StackConfig) -> None:
    plan = programs.plan(config, Path("/cache/temporal"))
    pooled = {program.name for program in plan.programs if program.environment.get("DATABASE_POOL") == "true"}
    assert pooled == {"web", "worker"}


def test_worker_gets_time_to_drain(config: StackConfig) -> None:
    plan = programs.plan(replace(config, temporal_drain_seconds=120), Path("/cache/temporal"))
    [worker] = [program for program in plan.programs if program.name == "worker"]
    assert worker.stop_seconds > 120


def test_configured_namespace_is_created(config: StackConfig) -> None:
    plan = programs.plan(replace(config, temporal_namespace="desk"), Path("/cache/temporal"))
    [temporal] = [program for program in plan.programs if program.name == "temporal"]
    command = list(temporal.command)
    assert command[command.index("--namespace") + 1] == "desk"


@pytest.mark.parametrize(("value", "embedded"), [("", True), ("  ", True), ("redis://elsewhere/0", False)])
def test_empty_address_variable_replaces_no_server(config: StackConfig, value: str, embedded: bool) -> None:
    settings = SimpleNamespace(
        POINTSMAN_HOME=config.home,
        POINTSMAN_CACHE=config.cache,
        BASE_DIR=config.project,
        HOST=config.host,
        PORT=config.port,
        POSTGRES_PORT=config.postgres_port,
        REDIS_PORT=config.redis_port,
        TEMPORAL_PORT=config.temporal_port,
        TEMPORAL_UI_PORT=config.temporal_ui_port,
        TEMPORAL_CLI="",
        TEMPORAL_NAMESPACE="default",
        TEMPORAL_DRAIN_SECONDS=20,
        WEB_THREADS=8,
        PUBLIC_URL=config.public_url,
    )
    made = StackConfig.from_settings(settings, {"REDIS_URL": value})
    assert ("redis" in made.embedded) is embedded
    assert {"postgres", "temporal"} <= made.embedded


def test_folders_of_the_home_are_private(tmp_path: Path) -> None:
    home.make_folders(tmp_path / "home")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").iterdir()}
    assert modes
    assert set(modes.values()) == {0o700}
