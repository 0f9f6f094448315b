"""Prove that a fresh clone works.

It clones the repository into another folder and starts `make run` with an empty POINTSMAN_HOME. It sends events until a
run has succeeded. Then it stops the stack and checks that no process is left. This program uses the standard library
only. The cache of downloaded binaries may be warm.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PORTS = ("PORT", "POSTGRES_PORT", "REDIS_PORT", "TEMPORAL_PORT", "TEMPORAL_UI_PORT")
# The first build of the Temporal CLI with Go takes minutes.
UP_SECONDS = 1500


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pointsman-fresh-") as folder:
        clone, home, log = Path(folder) / "clone", Path(folder) / "home", Path(folder) / "run.log"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        env = {
            **os.environ,
            "POINTSMAN_HOME": str(home),
            **{name: str(port) for name, port in zip(PORTS, free_ports(), strict=True)},
        }
        with log.open("wb") as output:
            run = subprocess.Popen(
                ["make", "run"], cwd=clone, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            start_and_finish_a_run(run, clone, env, log)
        except BaseException:
            print(log.read_text(errors="replace")[-8000:])
            os.killpg(run.pid, signal.SIGKILL)
            raise
        session = processes_of(run.pid)
        print(f"stopping {len(session)} processes")
        run.send_signal(signal.SIGTERM)
        run.wait(120)
        left = [pid for pid in session if is_running(pid)]
        if left:
            print(f"these processes are still running after the stop: {left}")
            return 1
        print("stopped; no process is left")
    return 0


def start_and_finish_a_run(run: subprocess.Popen[bytes], clone: Path, env: dict[str, str], log: Path) -> None:
    def is_up() -> bool:
        if run.poll() is not None:
            raise SystemExit(f"make run ended with {run.returncode}")
        return "Ctrl-C stops everything" in log.read_text(errors="replace")

    began = time.monotonic()
    eventually(is_up, UP_SECONDS, "make run is up")
    print(f"up after {time.monotonic() - began:.0f} s")
    shown = subprocess.run(
        [str(clone / ".venv/bin/python"), "manage.py", "demo_credentials", "--json"],
        cwd=clone,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    credentials = json.loads(shown.stdout)
    ready = call(credentials, "GET", "/readyz")
    print(f"ready: {ready['checks']}")
    call(credentials, "POST", "/api/v1/events", {"event_type": "TICKET_CREATED", "payload": {"ticketId": "CI-1"}})
    eventually(lambda: run_has_status(credentials, "WAITING"), 60, "the run waits for an event")
    call(
        credentials,
        "POST",
        "/api/v1/events",
        {"event_type": "TICKET_CUSTOMER_REPLIED", "payload": {"ticketId": "CI-1"}},
    )
    eventually(lambda: run_has_status(credentials, "SUCCEEDED"), 60, "the run has succeeded")
    print("one event started a run, a second event resumed it, and the run succeeded")


def run_has_status(credentials: dict[str, Any], status: str) -> bool:
    return bool(call(credentials, "GET", f"/api/v1/runs?correlation_key=CI-1&status={status}")["results"])


def call(credentials: dict[str, Any], method: str, path: str, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(
        credentials["url"] + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {credentials['token']}", "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path} returned {error.code}: {error.read().decode()[:500]}") from error


def eventually(is_true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(f"timeout after {seconds:g} s; expected: {what}")
        time.sleep(0.3)


def processes_of(parent: int) -> list[int]:
    """Return the ids of this process and of all its descendants. The ids are read from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [parent]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def free_ports() -> list[int]:
    sockets = [socket.socket() for _ in PORTS]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
