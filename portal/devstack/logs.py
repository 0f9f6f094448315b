"""Followers of log files that supervisord writes and rotates."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from portal.devstack.output import Output

_PAUSE_SECONDS = 0.1
_CHUNK = 65_536
# A longer line is shown in pieces. Otherwise a program that never ends its line could fill the memory.
_LONGEST_LINE = 65_536


class FollowedFile:
    """Reader of the lines that are added to one file, across rotations (`x.log` becomes `x.log.1`, and so on)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = b""
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
        """Show all complete lines."""
        while True:
            successor = self._successor()
            # The program can write to the old file until its successor exists. So the old file is read again after the
            # search.
            self._read_open_file(show)
            if successor is None:
                return
            if self._file is not None:
                self._file.close()
            self._file = successor

    def flush(self, show: Callable[[str], None]) -> None:
        """Show all lines. Show the last line even if it is incomplete."""
        self.read(show)
        if self._partial:
            show(self._partial.decode(errors="replace"))
            self._partial = b""

    def finish(self, show: Callable[[str], None]) -> None:
        """Show all remaining lines like `flush`, then close the file."""
        self.flush(show)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_open_file(self, show: Callable[[str], None]) -> None:
        if self._file is None:
            return
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)  # the file was truncated
        while chunk := self._file.read(_CHUNK):
            *lines, self._partial = (self._partial + chunk).split(b"\n")
            for line in lines:
                show(line.rstrip(b"\r").decode(errors="replace"))
            if len(self._partial) > _LONGEST_LINE:
                show(self._partial.decode(errors="replace"))
                self._partial = b""

    def _successor(self) -> BinaryIO | None:
        """Return the file that follows the open file, or None if the open file is the newest."""
        if self._file is None:
            return self._open(self._path)
        current = os.fstat(self._file.fileno()).st_ino
        if self._is_newest(current):
            return None
        newer: BinaryIO | None = None
        for path in (self._path, *(Path(f"{self._path}.{number}") for number in range(1, 10))):
            candidate = self._open(path)
            if candidate is None and path != self._path:
                break  # the open file was deleted by a rotation: continue with the oldest remaining file
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
            return True  # the old file was renamed, and the new file does not exist yet


class LogFollower:
    """Thread that shows the new lines of several files, each line with the name of its file."""

    def __init__(self, files: Mapping[str, Path], output: Output) -> None:
        self._files = {name: FollowedFile(path) for name, path in files.items()}
        self._output = output
        self._reading = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="devstack-logs", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def flush(self, name: str) -> None:
        """Show all lines that one file contains now."""
        with self._reading:
            self._files[name].flush(self._shower(name))

    def finish(self) -> None:
        """Show all lines that were written, then end the thread."""
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
