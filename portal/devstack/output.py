"""What `devstack run` shows: lines with the name of the program before them."""

import select
import threading
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)
OWN_NAME = "devstack"


class Output:
    """Writes whole lines, from any thread; none any more once nobody reads them."""

    def __init__(self, stream: TextIO, names: list[str]) -> None:
        self._stream = stream
        self._width = max(len(name) for name in (*names, OWN_NAME))
        self._colours = dict(zip(names, _COLOURS, strict=False)) if stream.isatty() else {}
        self._lock = threading.Lock()
        self._broken = False

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more: the terminal was closed, or the pipe. Whoever runs the stack then stops it.

        Asked of the kernel, because a closed terminal signals only its session's leader, which may be `make`.
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
        """A line of our own."""
        for line in text.splitlines() or [""]:
            self.line(OWN_NAME, line)

    def block(self, text: str) -> None:
        """Text as it is, without a prefix."""
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
        return stream.closed  # not a file of the system
    return bool(poller.poll(0))
