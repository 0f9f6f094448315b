"""POINTSMAN_HOME: its folders, and the lock by which one home has one stack."""

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

# PostgreSQL may need passage through the home (see postgres.py), so what is in it is closed by itself.
_PRIVATE_FOLDERS = ("logs", "supervisor", "redis", "temporal", "celery", "mail")
_LOCK_FILE = "devstack.lock"
_SOCKET_FOLDER = "supervisor/socket-folder"
# The kernel allows 107 bytes, of which supervisord takes some for a temporary name.
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
    """Holds the home for this process. Errors: StackError when another stack runs in it. The kernel ends the lock with us."""
    with (home / _LOCK_FILE).open("a+") as file:
        try:
            # Others hold it for an instant when they look who has it.
            wait_until("the home", lambda: "" if _take(file, fcntl.LOCK_EX) else "another stack has it", seconds=1)
        except NotReady:
            raise StackError(
                f"already running (pid {_read_pid(file)}) in {home}; "
                "use `manage.py devstack status` or `manage.py devstack stop`"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def running_pid(home: Path) -> int | None:
    """The pid of the `devstack run` that holds the home, or None."""
    try:
        with (home / _LOCK_FILE).open() as file:
            return None if _take(file, fcntl.LOCK_SH) else _read_pid(file)
    except FileNotFoundError:
        return None


def _take(file: TextIO, kind: int) -> bool:
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
    """Where the supervisor shall put its socket: in the home, or, when that path is too long, in a folder that the home names."""
    if known := socket_path(home):
        return known
    folder = Path(tempfile.mkdtemp(prefix="pointsman-"))
    (home / _SOCKET_FOLDER).write_text(str(folder))
    return folder / "socket"


def socket_path(home: Path) -> Path | None:
    """Where the supervisor's socket is; None when no place was made for it yet."""
    path = home / "supervisor" / "socket"
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
        return path
    folder = _socket_folder(home)
    return folder / "socket" if folder else None


def remove_socket_folder(home: Path) -> None:
    """Takes away the folder that `make_socket_path` made outside the home, if it did."""
    if folder := _socket_folder(home):
        (folder / "socket").unlink(missing_ok=True)
        folder.rmdir()
    (home / _SOCKET_FOLDER).unlink(missing_ok=True)


def _socket_folder(home: Path) -> Path | None:
    record = home / _SOCKET_FOLDER
    folder = Path(record.read_text().strip()) if record.exists() else None
    return folder if folder and _is_ours_alone(folder) else None


def _is_ours_alone(folder: Path) -> bool:
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and stat.S_IMODE(status.st_mode) == 0o700
