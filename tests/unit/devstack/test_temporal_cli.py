"""Where the Temporal CLI comes from, with small programs in place of the real ones."""

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
# A `go` that builds what it was asked for, or explains why not.
GO = f"""
[ "$*" = "install -v github.com/temporalio/cli/cmd/temporal@v1.5.1" ] || {{ echo "unexpected: $*"; exit 2; }}
printf '#!/bin/sh\\n%s\\n' '{WORKS}' > "$GOBIN/temporal"
chmod +x "$GOBIN/temporal"
echo "compiled"
"""


class Machine:
    """A machine with a PATH and a cache of its own, and no network unless a test gives it one."""

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


def test_the_setting_comes_first(machine: Machine, tmp_path: Path) -> None:
    chosen = machine.program(tmp_path / "chosen", WORKS)
    machine.program(machine.bin / "temporal", WORKS)
    machine.program(machine.cached, WORKS)
    assert machine.obtain(str(chosen)) == chosen


@pytest.mark.parametrize(
    ("text", "mode", "complaint"),
    [
        (None, 0, "is not there"),
        (WORKS, 0o644, "is not executable"),
        ("echo broken >&2; exit 9", 0o755, "ended with 9: broken"),
    ],
)
def test_a_setting_that_names_no_working_program_is_an_error(
    machine: Machine, tmp_path: Path, text: str | None, mode: int, complaint: str
) -> None:
    chosen = tmp_path / "chosen"
    if text is not None:
        machine.program(chosen, text).chmod(mode)
    machine.program(machine.bin / "temporal", WORKS)
    with pytest.raises(StackError, match=complaint) as caught:
        machine.obtain(str(chosen))
    assert "TEMPORAL_CLI" in str(caught.value)


def test_path_comes_before_the_cache(machine: Machine) -> None:
    machine.program(machine.cached, WORKS)
    assert machine.obtain() == machine.cached
    on_path = machine.program(machine.bin / "temporal", WORKS)
    assert machine.obtain() == on_path


def test_a_program_that_does_not_work_is_passed_over(machine: Machine) -> None:
    machine.program(machine.bin / "temporal", "exit 1")
    machine.program(machine.cached, WORKS)
    assert machine.obtain() == machine.cached


def test_the_download_comes_before_the_build(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(folder: Path, **kwargs: object) -> Path:
        return machine.program(folder / "temporal-sdk", WORKS)

    monkeypatch.setattr(temporal_fetch, "download", download)
    machine.program(machine.bin / "go", "echo must not be called; exit 1")
    assert machine.obtain() == machine.cached
    assert sorted(path.name for path in machine.cache.iterdir()) == ["temporal-v1.5.1", "temporal-v1.5.1.lock"]


def test_go_builds_it_when_it_cannot_be_downloaded(machine: Machine) -> None:
    machine.program(machine.bin / "go", GO)
    assert machine.obtain() == machine.cached
    assert temporal_cli.why_unusable(machine.cached) == ""
    assert any("five minutes" in line for line in machine.said)
    assert sorted(path.name for path in machine.cache.iterdir()) == ["temporal-v1.5.1", "temporal-v1.5.1.lock"]


def test_go_comes_from_the_registry_when_there_is_none(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheel").mkdir()
    go = machine.program(tmp_path / "wheel" / "go", GO)
    monkeypatch.setattr(temporal_fetch, "_go_from_registry", lambda cache, listener: go)
    machine.program(machine.bin / "go", "echo too old; exit 1")
    assert machine.obtain() == machine.cached


def test_when_nothing_works_every_source_is_named(machine: Machine) -> None:
    machine.program(machine.bin / "temporal", "echo wrong libc >&2; exit 127")
    machine.program(machine.bin / "go", "echo 'cannot reach the proxy'; exit 1")
    with pytest.raises(StackError) as caught:
        machine.obtain()
    message = str(caught.value)
    for words in ("wrong libc", f"no {machine.cached}", "SDK download: no network", "cannot reach the proxy"):
        assert words in message
    for remedy in ("PATH", "TEMPORAL_CLI", "TEMPORAL_ADDRESS"):
        assert remedy in message.splitlines()[-1]
    assert [path.name for path in machine.cache.iterdir()] == ["temporal-v1.5.1.lock"]


def test_a_build_that_makes_a_broken_program_is_not_kept(machine: Machine) -> None:
    machine.program(machine.bin / "go", GO.replace(WORKS, "exit 3"))
    with pytest.raises(StackError, match=r"go install: .*ended with 3"):
        machine.obtain()
    assert not machine.cached.exists()


def test_two_runs_do_not_build_at_once(machine: Machine) -> None:
    machine.program(machine.bin / "go", "echo must not be called; exit 1")
    found: list[Path] = []
    with (machine.cache / "temporal-v1.5.1.lock").open("w") as other_run:
        fcntl.flock(other_run, fcntl.LOCK_EX)
        thread = threading.Thread(target=lambda: found.append(machine.obtain()))
        thread.start()
        wait_until("word that it waits", lambda: "" if "waiting" in str(machine.said) else "silence", seconds=30)
        machine.program(machine.cached, WORKS)
    thread.join(timeout=30)
    assert found == [machine.cached]


def test_long_work_shows_signs_of_life(tmp_path: Path) -> None:
    # The command ends when we have heard of its last line.
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


def test_long_work_ends_when_nobody_wants_it(tmp_path: Path) -> None:
    began = tmp_path / "began"
    script = f"touch '{began}'; sleep 600"
    with pytest.raises(Abandoned):
        run_reporting(["sh", "-c", script], "build", Listener(lambda line: None, began.exists), seconds=60)


def test_work_that_cannot_be_started_says_so() -> None:
    with pytest.raises(StackError, match="no-such-program: No such file"):
        run_reporting(["/no-such-program"], "build", Listener(lambda line: None), seconds=60)
