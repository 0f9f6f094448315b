"""Sources of the Temporal CLI (docs/reference/administration.md#the-temporal-cli).

The sources are tried in this order: the setting TEMPORAL_CLI, `temporal` on PATH, the cache, the SDK's download, a
build with `go install`. The download and the build store the binary in the cache. A lock prevents two downloads or
builds at the same time. The finished binary is renamed into the cache. So an interruption leaves no incomplete file in
the cache.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from portal.devstack import temporal_fetch
from portal.devstack.errors import StackError
from portal.devstack.progress import Listener
from portal.devstack.waiting import Abandoned, wait_until

VERSION = temporal_fetch.VERSION
_LOCK_SECONDS = 1800


@dataclass
class Search:
    """One search for the CLI. `tried` collects the problem of each source. The error message lists these problems."""

    setting: str
    cache: Path
    listener: Listener
    search_path: str
    tried: list[str] = field(default_factory=list)

    def find(self) -> Path | None:
        """Return the CLI from a source that needs no network access. Return None if there is none.

        Errors: StackError if TEMPORAL_CLI is set and does not work.
        """
        if self.setting:
            return self._from_setting()
        if on_path := shutil.which("temporal", path=self.search_path):
            if self._works(Path(on_path), "PATH"):
                return Path(on_path)
        else:
            self.tried.append("PATH: no program `temporal` found")
        if self.cached.exists():
            if self._works(self.cached, "cache"):
                return self.cached
        else:
            self.tried.append(f"cache: no file {self.cached}")
        return None

    @property
    def cached(self) -> Path:
        return self.cache / f"temporal-{VERSION}"

    def _from_setting(self) -> Path:
        path = Path(self.setting).expanduser()
        if problem := problem_of(path):
            raise StackError(f"TEMPORAL_CLI is {self.setting!r}, but {problem}. Correct the variable, or unset it.")
        return path

    def _works(self, path: Path, source: str) -> bool:
        problem = problem_of(path)
        if problem:
            self.tried.append(f"{source}: {problem}")
        return not problem

    def fetch(self) -> Path | None:
        """Download or build the CLI and store it in the cache.

        Return its path, or None if both failed. Cost: a build takes five minutes.
        """
        with _one_at_a_time(self.cache / f"temporal-{VERSION}.lock", self.listener):
            if self.cached.exists() and not problem_of(self.cached):
                return self.cached  # another process has filled the cache
            for source, get in (("SDK download", temporal_fetch.download), ("go install", temporal_fetch.build)):
                with tempfile.TemporaryDirectory(dir=self.cache, prefix="fetching-") as folder:
                    if self._take(source, get, Path(folder)):
                        return self.cached
        return None

    def _take(self, source: str, get: Callable[..., Path], folder: Path) -> bool:
        try:
            binary = get(folder, cache=self.cache, search_path=self.search_path, listener=self.listener)
        except Abandoned:
            raise
        except StackError as error:
            self.tried.append(f"{source}: {error}")
            return False
        if not self._works(binary, source):
            return False
        binary.rename(self.cached)
        return True


def obtain(setting: str, cache: Path, listener: Listener, *, search_path: str | None = None) -> Path:
    """Return the path of a working CLI. Errors: StackError with the problem of each source."""
    search = Search(
        setting, cache, listener, os.environ.get("PATH", os.defpath) if search_path is None else search_path
    )
    found = search.find()
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        found = search.fetch()
    if found is None:
        tried = "\n".join(f"  - {line}" for line in search.tried)
        raise StackError(
            f"No working Temporal CLI was found. These sources were tried:\n{tried}\n"
            "Install the CLI and put it on PATH, set TEMPORAL_CLI to its path, or set TEMPORAL_ADDRESS to a running"
            " server."
        )
    return found


def from_environment(listener: Listener) -> Path:
    """Return the CLI for a program that cannot read Django's settings yet.

    Tests start their servers before the settings are read.
    """
    cache = os.environ.get("POINTSMAN_CACHE", "").strip()
    folder = Path(cache).expanduser() if cache else Path.home() / ".cache" / "pointsman"
    return obtain(os.environ.get("TEMPORAL_CLI", "").strip(), folder, listener)


def problem_of(path: Path) -> str:
    """Return "" if the program prints its version, otherwise the problem."""
    if not path.is_file():
        return f"{path} does not exist"
    if not os.access(path, os.X_OK):
        return f"{path} is not executable"
    try:
        done = subprocess.run(  # noqa: S603
            [path, "--version"], check=False, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} cannot be run: {error}"
    if done.returncode != 0:
        return f"`{path} --version` ended with exit code {done.returncode}: {done.stderr.strip()[-200:]}"
    return ""


@contextlib.contextmanager
def _one_at_a_time(path: Path, listener: Listener) -> Iterator[None]:
    with path.open("w") as lock:
        reported = False

        def held_elsewhere() -> str:
            nonlocal reported
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not reported:
                    listener.say("Another process is downloading or building the Temporal CLI. Waiting for it.")
                reported = True
                return f"{path} is still locked"
            return ""

        wait_until(
            "the lock of the Temporal CLI",
            held_elsewhere,
            seconds=_LOCK_SECONDS,
            pause=0.5,
            abandon=listener.is_cancelled,
        )
        yield
