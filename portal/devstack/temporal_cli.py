"""Where the Temporal CLI comes from (docs/reference/administration.md#the-temporal-cli).

In this order: the setting TEMPORAL_CLI, `temporal` on PATH, the cache, the SDK's own download, a build by `go install`.
The last two fill the cache under a lock, so that two runs do not fetch or build at once, and move the finished binary into
place in one step, so that an interruption leaves nothing half done.
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
    """One search; `tried` collects what each source said, for the message when none has it."""

    setting: str
    cache: Path
    listener: Listener
    search_path: str
    tried: list[str] = field(default_factory=list)

    def find(self) -> Path | None:
        """The CLI from a source that needs no network, or None. Errors: StackError when the setting names no program."""
        if self.setting:
            return self._from_setting()
        if on_path := shutil.which("temporal", path=self.search_path):
            if self._works(Path(on_path), "PATH"):
                return Path(on_path)
        else:
            self.tried.append("PATH: no program `temporal` on it")
        if self.cached.exists():
            if self._works(self.cached, "cache"):
                return self.cached
        else:
            self.tried.append(f"cache: no {self.cached}")
        return None

    @property
    def cached(self) -> Path:
        return self.cache / f"temporal-{VERSION}"

    def _from_setting(self) -> Path:
        path = Path(self.setting).expanduser()
        if answer := why_unusable(path):
            raise StackError(f"TEMPORAL_CLI is {self.setting!r}, but {answer}. Correct the variable, or unset it.")
        return path

    def _works(self, path: Path, source: str) -> bool:
        answer = why_unusable(path)
        if answer:
            self.tried.append(f"{source}: {answer}")
        return not answer

    def fetch(self) -> Path | None:
        """The CLI in the cache after a download or a build, or None. Cost: network; a build takes five minutes."""
        with _one_at_a_time(self.cache / f"temporal-{VERSION}.lock", self.listener):
            if self.cached.exists() and not why_unusable(self.cached):
                return self.cached  # another run was faster
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
    """The path of a working CLI. Errors: StackError with what every source said, when none has it."""
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
            f"No Temporal CLI could be had. What was tried:\n{tried}\n"
            f"Install it and put it on PATH, or set TEMPORAL_CLI to it, or set TEMPORAL_ADDRESS to a running server."
        )
    return found


def from_environment(listener: Listener) -> Path:
    """As `obtain`, for programs that need the CLI before Django's settings can be read (tests start their servers first)."""
    cache = os.environ.get("POINTSMAN_CACHE", "").strip()
    folder = Path(cache).expanduser() if cache else Path.home() / ".cache" / "pointsman"
    return obtain(os.environ.get("TEMPORAL_CLI", "").strip(), folder, listener)


def why_unusable(path: Path) -> str:
    """What is wrong with the program; "" when it tells its version."""
    if not path.is_file():
        return f"{path} is not there"
    if not os.access(path, os.X_OK):
        return f"{path} is not executable"
    try:
        done = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} does not run: {error}"
    if done.returncode != 0:
        return f"`{path} --version` ended with {done.returncode}: {done.stderr.strip()[-200:]}"
    return ""


@contextlib.contextmanager
def _one_at_a_time(path: Path, listener: Listener) -> Iterator[None]:
    with path.open("w") as lock:
        told = False

        def held_elsewhere() -> str:
            nonlocal told
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    listener.say("Another process is getting the Temporal CLI; waiting for it.")
                told = True
                return f"{path} is still locked"
            return ""

        wait_until(
            "the lock of the Temporal CLI", held_elsewhere, seconds=_LOCK_SECONDS, pause=0.5, abandon=listener.gone
        )
        yield
