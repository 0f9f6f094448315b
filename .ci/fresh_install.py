"""Proves the fresh install: a clone in another folder, an empty POINTSMAN_HOME, `make run`, one event to a finished run,
stop, and no process left. Standard library only; the binary cache may stay.
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
# A Go build of the Temporal CLI from nothing takes minutes.
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
            main_job(run, clone, env, log)
        except BaseException:
            print(log.read_text(errors="replace")[-8000:])
            os.killpg(run.pid, signal.SIGKILL)
            raise
        session = processes_of(run.pid)
        print(f"stopping; {len(session)} processes run")
        run.send_signal(signal.SIGTERM)
        run.wait(120)
        left = [pid for pid in session if is_running(pid)]
        if left:
            print(f"processes are left: {left}")
            return 1
        print("stopped, no process left")
    return 0


def main_job(run: subprocess.Popen[bytes], clone: Path, env: dict[str, str], log: Path) -> None:
    def is_up() -> bool:
        if run.poll() is not None:
            raise SystemExit(f"make run ended with {run.returncode}")
        return "Ctrl-C stops everything" in log.read_text(errors="replace")

    began = time.monotonic()
    eventually(is_up, UP_SECONDS, "make run is up")
    print(f"up after {time.monotonic() - began:.0f} s")
    shown = subprocess.run(
        [str(clone / ".venv/bin/python"), "manage.py", "demo_credentials", "--json"], cwd=clone, env=env, capture_output=True, text=True, check=True
    )  # fmt: skip
    found = json.loads(shown.stdout)
    ready = call(found, "GET", "/readyz")
    print(f"ready: {ready['checks']}")
    call(found, "POST", "/api/v1/events", {"event_type": "TICKET_CREATED", "payload": {"ticketId": "CI-1"}})
    eventually(lambda: run_is(found, "WAITING"), 60, "the run waits")
    call(found, "POST", "/api/v1/events", {"event_type": "TICKET_CUSTOMER_REPLIED", "payload": {"ticketId": "CI-1"}})
    eventually(lambda: run_is(found, "SUCCEEDED"), 60, "the run has succeeded")
    print("one event started a run, another resumed it to its end")


def run_is(found: dict[str, Any], status: str) -> bool:
    return bool(call(found, "GET", f"/api/v1/runs?correlation_key=CI-1&status={status}")["results"])


def call(found: dict[str, Any], method: str, path: str, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(
        found["url"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {found['token']}", "Content-Type": "application/json"},
    )  # fmt: skip
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return dict(json.load(response))
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path} answered {error.code}: {error.read().decode()[:500]}") from error


def eventually(look: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:g} s: {what}")
        time.sleep(0.3)


def processes_of(parent: int) -> list[int]:
    """The process and all below it, from /proc."""
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
