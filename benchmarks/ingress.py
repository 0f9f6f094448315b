"""What events cost: SQL statements and broker messages per event, accepted events a second, and the time to a resumed run.

    python benchmarks/ingress.py             everything, on servers of its own; about eight minutes on two cores
    python benchmarks/ingress.py --quick     the same with small numbers, to see that it works
    python benchmarks/ingress.py --only sql  one part (`sql`, `door`, `messages`, `latency`)

Ends with status 1 when a goal is missed.

`door` compares the portal's `POST /api/v1/events` with a bare DRF view that does one insert, in turns, each in gunicorn as
the dev stack starts it, with eight clients that keep their connections. The clients share the machine, so the CPU of the
web process per request is told too: it is the stricter ratio. No Celery worker runs meanwhile.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

DOOR_GOAL = 0.6
CLIENTS = 8
_numbers = itertools.count(1)


def event_body(**more: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {
        "event_type": "TICKET_CUSTOMER_REPLIED",
        "event_id": f"bench-{os.getpid()}-{number}",
        "payload": {"ticketId": f"B-{number}", "channel": "mail", "text": "The invoice of last month is missing. " * 4},
        **more,
    }


# -- The door ----------------------------------------------------------------------------------------------------------


@contextmanager
def web(application: str, port: int, **environment: str) -> Iterator[int]:
    """The pid of gunicorn's only worker."""
    import psutil

    from tests.support.factories import eventually

    command = [
        sys.executable,
        "-m",
        "gunicorn",
        application,
        "--bind",
        f"127.0.0.1:{port}",
        "--worker-class",
        "gthread",
    ]
    command += ["--workers", "1", "--threads", "8", "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "DATABASE_POOL": "true", **environment})

    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status in (200, 404)
        except OSError:
            return False
        finally:
            connection.close()

    try:
        eventually(answers, what=f"{application} answers")
        yield psutil.Process(process.pid).children()[0].pid
    finally:
        process.terminate()
        process.wait(30)


def posts(port: int, token: str, seconds: float) -> tuple[int, list[float]]:
    """How many were accepted by all clients in this time, and how long each took."""
    stop_at = time.monotonic() + seconds
    took: list[float] = []
    failures: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        while time.monotonic() < stop_at:
            begun = time.monotonic()
            connection.request("POST", "/api/v1/events", json.dumps(event_body()), headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status not in (201, 202):
                failures.append(f"{answer.status} {body[:200]!r}")
                return
            took.append(time.monotonic() - begun)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return len(took), took


def door(token: str, *, rounds: int, seconds: float) -> bool:
    import psutil
    from django.db import connections

    print(f"\nThe REST door: {CLIENTS} clients, in turns with a bare DRF view of one insert")
    print(f"{'':26}{'events/s':>10}{'p50':>9}{'p99':>9}{'web CPU':>10}")
    speeds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with (
        web("portal.wsgi:application", 18311, CELERY_QUEUE="nobody") as portal,
        web("benchmarks._bare:application", 18312) as bare,
    ):
        for number in range(rounds + 1):
            for name, port, pid in (("portal", 18311, portal), ("bare view, one insert", 18312, bare)):
                before = sum(psutil.Process(pid).cpu_times()[:2])
                count, took = posts(port, token, seconds if number else 2)
                used = sum(psutil.Process(pid).cpu_times()[:2]) - before
                if number == 0:
                    continue  # warm
                took.sort()
                speeds.setdefault(name, []).append(count / seconds)
                cpu.setdefault(name, []).append(used / count * 1000)
                print(
                    f"{name:26}{count / seconds:10.0f}{took[len(took) // 2] * 1000:6.1f} ms"
                    f"{took[int(len(took) * 0.99)] * 1000:6.1f} ms{used / count * 1000:7.2f} ms",
                    flush=True,
                )
    with connections["owner"].cursor() as cursor:
        cursor.execute("TRUNCATE workflow_event_outbox")  # what the bare view has written, and nobody is to relay
    fast = {name: statistics.median(found) for name, found in speeds.items()}
    dear = {name: statistics.median(found) for name, found in cpu.items()}
    ratio = fast["portal"] / fast["bare view, one insert"]
    print(
        f"ratio of the medians {ratio:.2f}, goal {DOOR_GOAL}: {'held' if ratio >= DOOR_GOAL else 'MISSED'}; by the web "
        f"process's CPU {dear['bare view, one insert'] / dear['portal']:.2f}"
    )
    return ratio >= DOOR_GOAL


# -- Messages ----------------------------------------------------------------------------------------------------------


def messages(tenant: Any, *, count: int) -> bool:
    """Celery messages per event, with the portal's own worker answering."""
    from celery.signals import task_prerun

    from ingress.intake.receive import event_receive, events_receive
    from tests.support.factories import eventually
    from tests.support.workers import running_celery_worker
    from workflows.models import Event
    from workflows.statuses import EventSource

    taken = itertools.count()
    seen = [0]

    def count_message(**_kwargs: Any) -> None:
        seen[0] = next(taken) + 1

    def is_routed() -> bool:
        return not Event.objects.filter(tenant=tenant, routed_at__isnull=True).exists()

    print("\nCelery messages per event")
    held = True
    task_prerun.connect(count_message)
    try:
        with running_celery_worker():
            for what, pause in (("one by one, as fast as it goes", 0.0), ("one each 50 ms", 0.05)):
                before = seen[0]
                for _ in range(count):
                    event_receive(tenant_id=tenant.id, value=event_body(), source=EventSource.REST)
                    time.sleep(pause)
                eventually(is_routed, what="all are routed")
                held &= _told(what, seen[0] - before, count)
            before = seen[0]
            for _ in range(count // 10):
                events_receive(tenant_id=tenant.id, values=[event_body() for _ in range(100)], source=EventSource.REST)
            eventually(is_routed, what="all are routed")
            held &= _told("in batches of 100", seen[0] - before, count // 10 * 100)
    finally:
        task_prerun.disconnect(count_message)
    return held


def _told(what: str, found: int, count: int) -> bool:
    print(
        f"{what:34}{count:7} events{found:7} messages{found / count:8.3f}  1: {'held' if found <= count else 'MISSED'}"
    )
    return found <= count


# -- From the event to the resumed run ---------------------------------------------------------------------------------


def latency(tenant: Any, *, count: int) -> bool:
    from benchmarks.run_cost import PORTAL, worker
    from ingress.intake.receive import event_receive
    from tests.support.factories import eventually, make_actor, publish, wait_for_reply
    from tests.support.workers import running_celery_worker
    from workflows.models import RunWait
    from workflows.services.runs.start import run_start
    from workflows.statuses import EventSource

    publish(tenant, wait_for_reply(), key="waits")
    with worker(PORTAL), running_celery_worker():
        keys = [f"L-{number}" for number in range(count)]
        for key in keys:
            run_start(actor=make_actor(tenant), definition_key="waits", payload={"ticketId": key})
        waits = RunWait.objects.filter(tenant=tenant, correlation_key__in=keys)
        eventually(lambda: waits.filter(status="WAITING").count() == count, seconds=300, what="all wait")
        took, all_took = [], []
        for key in keys:
            value = event_body(payload={"ticketId": key})
            begun = time.time()
            event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
            wait = eventually(waits.filter(correlation_key=key, status="RESOLVED").first, what="it is resumed")
            assert wait.resolved_at is not None
            took.append((wait.resolved_at - event.received_at).total_seconds() * 1000)
            all_took.append((wait.projected_at.timestamp() - begun) * 1000)
    print(f"\nFrom the accepted event to the resumed run, {count} runs that wait, one event after the other")
    print(f"{'':44}{'p50':>9}{'p99':>9}{'max':>9}")
    for what, found in (("to the workflow's own time of going on", took), ("to the projection that says so", all_took)):
        found.sort()
        print(f"{what:44}{found[count // 2]:6.0f} ms{found[int(count * 0.99)]:6.0f} ms{found[-1]:6.0f} ms")
    return True


# -- The program -------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="What events cost, and how many one web process takes.")
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--only", choices=["sql", "door", "messages", "latency"])
    options = parser.parse_args()
    from benchmarks.run_cost import environment

    held = []
    with environment(encrypted=False):
        from django.conf import settings

        from benchmarks import _ingress_sql
        from tests.support.factories import make_tenant, make_token

        settings.ALLOWED_HOSTS = ["*"]

        def is_wanted(part: str) -> bool:
            return options.only in (None, part)

        if is_wanted("door"):
            held.append(
                door(make_token(make_tenant()), rounds=1 if options.quick else 3, seconds=3 if options.quick else 10)
            )
        if is_wanted("messages"):
            held.append(messages(make_tenant(), count=100 if options.quick else 500))
        if is_wanted("latency"):
            held.append(latency(make_tenant(), count=20 if options.quick else 200))
        if is_wanted("sql"):
            settings.CELERY_TASK_DEFAULT_QUEUE = "nobody"
            sizes = [100, 20_000] if options.quick else [100, 1_000_000]
            own = make_tenant()
            held.append(_ingress_sql.measure(own, make_token(own), sizes=sizes))
    print("\nEvery goal holds." if all(held) else "\nNot every goal holds.")
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
