"""POINTSMAN_HOME: its folders, and the lock that allows one stack per home."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from portal.devstack.errors import StackError
from portal.devstack.waiting import NotReady, wait_until

# Other users may get access to the path of the home (see postgres.py). So only the owner can open these folders.
_PRIVATE_FOLDERS = ("logs", "supervisor", "redis", "temporal", "celery", "mail")
_LOCK_FILE = "devstack.lock"
_SOCKET_FOLDER = "supervisor/socket-folder"
# The kernel allows 107 bytes for the path of a socket. supervisord needs some of these bytes for a temporary name.
_SOCKET_PATH_BYTES = 90


def make_folders(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for name in _PRIVATE_FOLDERS:
        (home / name).mkdir(exist_ok=True)
        (home / name).chmod(0o700)


def log_file(home: Path, name: str) -> Path:
    return home / "logs" / f"{name}.log"


@contextlib.contextmanager
def lock(home: Path) -> Iterator[None]:
    """Lock the home for this process. The kernel releases the lock when the process ends.

    Errors: StackError if another stack is running in this home.
    """
    with (home / _LOCK_FILE).open("a+") as file:
        try:
            # If another process calls `running_pid`, it holds the lock for a moment.
            wait_until("the home", lambda: "" if _lock(file, fcntl.LOCK_EX) else "another stack uses it", seconds=1)
        except NotReady:
            raise StackError(
                f"A stack is already running (pid {_read_pid(file)}) in {home}. "
                "Use it (`manage.py devstack status`), or stop it first (`manage.py devstack stop`)."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def running_pid(home: Path) -> int | None:
    """Return the pid of the running `devstack run` of this home, or None."""
    try:
        with (home / _LOCK_FILE).open() as file:
            return None if _lock(file, fcntl.LOCK_SH) else _read_pid(file)
    except FileNotFoundError:
        return None


def _lock(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_pid(file: TextIO) -> int | None:
    file.seek(0)
    text = file.read().strip()
    return int(text) if text.isdigit() else None


def make_socket_path(home: Path) -> Path:
    """Return the path for the supervisor's socket. If a path in the home is too long, create a temporary folder for it.

    A file in the home records the temporary folder.
    """
    if known := socket_path(home):
        return known
    folder = Path(tempfile.mkdtemp(prefix="pointsman-"))
    (home / _SOCKET_FOLDER).write_text(str(folder))
    return folder / "socket"


def socket_path(home: Path) -> Path | None:
    """Return the path of the supervisor's socket, or None if `make_socket_path` was not called yet."""
    path = home / "supervisor" / "socket"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    folder = _socket_folder(home)
    return folder / "socket" if folder else None


def remove_socket_folder(home: Path) -> None:
    """Delete the temporary folder of `make_socket_path`, if there is one."""
    if folder := _socket_folder(home):
        (folder / "socket").unlink(missing_ok=True)
        folder.rmdir()
    (home / _SOCKET_FOLDER).unlink(missing_ok=True)


def _socket_folder(home: Path) -> Path | None:
    record = home / _SOCKET_FOLDER
    folder = Path(record.read_text().strip()) if record.exists() else None
    return folder if folder and _is_private(folder) else None


def _is_private(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o700
