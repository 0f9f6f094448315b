"""Follows log files while supervisord writes and rotates them."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from portal.devstack.output import Output

_PAUSE_SECONDS = 0.1
_CHUNK = 65_536
# A line longer than this is shown in pieces, so that a program that never ends its line cannot fill our memory.
_LONGEST = 65_536


class FollowedFile:
    """Gives the lines that are added to one file from now on, across rotations (`x.log` becomes `x.log.1`, and so on)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = b""
        self._file: BinaryIO | None = self._open(path)
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    @staticmethod
    def _open(path: Path) -> BinaryIO | None:
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None

    def read(self, show: Callable[[str], None]) -> None:
        """Shows every line that is complete now."""
        while True:
            successor = self._successor()
            # Only after a successor was seen is the old file final, so it is read once more after that look.
            self._read_open_file(show)
            if successor is None:
                return
            if self._file is not None:
                self._file.close()
            self._file = successor

    def flush(self, show: Callable[[str], None]) -> None:
        """Shows all that there is, with a last line that has no end."""
        self.read(show)
        if self._begun:
            show(self._begun.decode(errors="replace"))
            self._begun = b""

    def finish(self, show: Callable[[str], None]) -> None:
        """Shows the rest, as `flush`, and closes the file."""
        self.flush(show)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_open_file(self, show: Callable[[str], None]) -> None:
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # somebody emptied it
        while chunk := self._file.read(_CHUNK):
            *lines, self._begun = (self._begun + chunk).split(b"\n")
            for line in lines:
                show(line.rstrip(b"\r").decode(errors="replace"))
            if len(self._begun) > _LONGEST:
                show(self._begun.decode(errors="replace"))
                self._begun = b""

    def _successor(self) -> BinaryIO | None:
        """The file written after the open one; None while the open one is the newest."""
        if self._file is None:
            return self._open(self._path)
        current = os.fstat(self._file.fileno()).st_ino
        if self._is_newest(current):
            return None
        newer: BinaryIO | None = None
        for path in (self._path, *(Path(f"{self._path}.{number}") for number in range(1, 10))):
            candidate = self._open(path)
            if candidate is None and path != self._path:
                break  # ours has been rotated out of existence: go on with the oldest that is left
            if candidate is None:
                continue
            if os.fstat(candidate.fileno()).st_ino == current:
                candidate.close()
                return newer
            if newer is not None:
                newer.close()
            newer = candidate
        return newer

    def _is_newest(self, inode: int) -> bool:
        try:
            return self._path.stat().st_ino == inode
        except FileNotFoundError:
            return True  # between the renaming of the old file and the creation of the new one


class LogFollower:
    """A thread that shows what is added to several files, each under its name."""

    def __init__(self, files: Mapping[str, Path], output: Output) -> None:
        self._files = {name: FollowedFile(path) for name, path in files.items()}
        self._output = output
        self._reading = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devstack-logs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def flush(self, name: str) -> None:
        """Returns when all that is in one file now has been shown."""
        with self._reading:
            self._files[name].flush(self._shower(name))

    def finish(self) -> None:
        """Returns when all that was written has been shown."""
        self._ending.set()
        self._thread.join()
        for name, file in self._files.items():
            file.finish(self._shower(name))

    def _run(self) -> None:
        while not self._ending.wait(_PAUSE_SECONDS):
            for name, file in self._files.items():
                with self._reading:
                    file.read(self._shower(name))

    def _shower(self, name: str) -> Callable[[str], None]:
        return lambda line: self._output.line(name, line)
