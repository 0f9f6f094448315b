"""Secrets that the portal generates once in development, as files that only their owner can read."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path


def generated_file(path: Path, make: Callable[[], str]) -> str:
    """Return the text of the file. If the file is missing, create it with the result of `make` and mode 0600.

    Processes may start at the same time. Linking a complete file into place lets exactly one of them create the file.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent) as new_file:
            new_file.write(make())
            new_file.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(new_file.name)
    return path.read_text(encoding="utf-8").strip()
