"""Output of `devstack run`. Each line begins with the name of its program."""

import select
import threading
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
OWN_NAME = "devstack"


class Output:
    """Writer of whole lines. Any thread may use it. It stops writing when the terminal or the pipe was closed."""

    def __init__(self, stream: TextIO, names: list[str]) -> None:
        self._stream = stream
        self._width = max(len(name) for name in (*names, OWN_NAME))
        self._colours = dict(zip(names, _COLOURS, strict=False)) if stream.isatty() else {}
        self._lock = threading.Lock()
        self._broken = False

    @property
    def broken(self) -> bool:
        """Return True if the terminal or the pipe was closed. The stack stops then.

        This property asks the kernel. A closed terminal sends a signal only to the leader of its session, which may be
        `make`.
        """
        with self._lock:
            self._broken = self._broken or _hung_up(self._stream)
            return self._broken

    def line(self, name: str, text: str) -> None:
        prefix = f"{name:<{self._width}} |"
        if colour := self._colours.get(name):
            prefix = f"\033[{colour}m{prefix}\033[0m"
        self._write(f"{prefix} {text}\n")

    def say(self, text: str) -> None:
        """Write a message of `devstack` itself."""
        for line in text.splitlines() or [""]:
            self.line(OWN_NAME, line)

    def block(self, text: str) -> None:
        """Write the text without a prefix."""
        self._write(text if text.endswith("\n") else f"{text}\n")

    def _write(self, text: str) -> None:
        with self._lock:
            if self._broken:
                return
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._broken = True


def _hung_up(stream: TextIO) -> bool:
    poller = select.poll()
    try:
        poller.register(stream.fileno(), 0)
    except (OSError, ValueError):
        return stream.closed  # the stream is not a real file
    return bool(poller.poll(0))
