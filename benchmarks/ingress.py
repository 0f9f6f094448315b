"""Cost of events.

The program measures SQL statements and messages per event, accepted events per second, and the time from an event to
the resumed run.

    python benchmarks/ingress.py             all parts, on its own servers; about eight minutes on two cores
    python benchmarks/ingress.py --quick     the same with small numbers, as a test of the program
    python benchmarks/ingress.py --only sql  one part (`sql`, `rest`, `messages`, `latency`)

The exit status is 1 if a goal is missed.

`rest` compares the portal's `POST /api/v1/events` with a DRF view that does one insert. The two run alternately, in
the web server of the portal. Eight clients keep their connections open. The clients run on the same machine and use its
CPU too. Therefore the program also prints the CPU time of the web process per request. The ratio of these CPU times is
the stricter comparison. No Celery worker runs during this part.
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

REST_GOAL = 0.6
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


# -- REST --------------------------------------------------------------------------------------------------------------


@contextmanager
def web(application: str, port: int, **environment: str) -> Iterator[int]:
    """Start the portal's web server with an application and return the pid of its process."""
    from tests.support.factories import eventually

    module, _, name = application.partition(":")
    script = (
        f"import django; django.setup(); from {module} import {name} as found; from portal.web.server import WebServer;"
        f" WebServer(found, host='127.0.0.1', port={port}, threads=8, request_seconds=30).run()"
    )
    environment = {**os.environ, "DATABASE_POOL": "true", **environment}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment)

    def responds() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status in (200, 404)
        except OSError:
            return False
        finally:
            connection.close()

    try:
        eventually(responds, what=f"{application} responds")
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def posts(port: int, token: str, seconds: float) -> tuple[int, list[float]]:
    """Return the number of requests that were accepted within the time, and the seconds that each request took."""
    stop_at = time.monotonic() + seconds
    took: list[float] = []
    failures: list[str] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        while time.monotonic() < stop_at:
            started = time.monotonic()
            connection.request("POST", "/api/v1/events", json.dumps(event_body()), headers)
            response = connection.getresponse()
            body = response.read()
            if response.status not in (201, 202):
                failures.append(f"{response.status} {body[:200]!r}")
                return
            took.append(time.monotonic() - started)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(failures[0])
    return len(took), took


def rest(token: str, *, rounds: int, seconds: float) -> bool:
    import psutil
    from django.db import connections

    print(f"\nREST: {CLIENTS} clients, alternately with a DRF view that does one insert")
    print(f"{'':26}{'events/s':>10}{'p50':>9}{'p99':>9}{'web CPU':>10}")
    speeds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with (
        web("portal.wsgi:application", 18311, CELERY_QUEUE="no-worker") as portal,
        web("benchmarks._bare:application", 18312) as bare,
    ):
        for number in range(rounds + 1):
            for name, port, pid in (("portal", 18311, portal), ("bare view, one insert", 18312, bare)):
                before = sum(psutil.Process(pid).cpu_times()[:2])
                count, took = posts(port, token, seconds if number else 2)
                used = sum(psutil.Process(pid).cpu_times()[:2]) - before
                if number == 0:
                    continue  # the first round is only a warm-up
                took.sort()
                speeds.setdefault(name, []).append(count / seconds)
                cpu.setdefault(name, []).append(used / count * 1000)
                print(
                    f"{name:26}{count / seconds:10.0f}{took[len(took) // 2] * 1000:6.1f} ms"
                    f"{took[int(len(took) * 0.99)] * 1000:6.1f} ms{used / count * 1000:7.2f} ms",
                    flush=True,
                )
    with connections["owner"].cursor() as cursor:
        cursor.execute("TRUNCATE workflow_event_outbox")  # the bare view's rows, which must not be relayed
    fast = {name: statistics.median(found) for name, found in speeds.items()}
    cpu_ms = {name: statistics.median(found) for name, found in cpu.items()}
    ratio = fast["portal"] / fast["bare view, one insert"]
    print(
        f"ratio of the medians {ratio:.2f}, goal {REST_GOAL}: {'met' if ratio >= REST_GOAL else 'MISSED'}; ratio of the"
        f" web process's CPU times {cpu_ms['bare view, one insert'] / cpu_ms['portal']:.2f}"
    )
    return ratio >= REST_GOAL


# -- Messages ----------------------------------------------------------------------------------------------------------


def messages(tenant: Any, *, count: int) -> bool:
    """Print the number of Celery messages per event, with the portal's worker running."""
    from celery.signals import task_prerun

    from ingress.intake.receive import event_receive, events_receive
    from tests.support.factories import eventually
    from tests.support.workers import running_celery_worker
    from workflows.models import Event
    from workflows.statuses import EventSource

    numbers = itertools.count()
    seen = [0]

    def count_message(**_kwargs: Any) -> None:
        seen[0] = next(numbers) + 1

    def is_routed() -> bool:
        return not Event.objects.filter(tenant=tenant, routed_at__isnull=True).exists()

    print("\nCelery messages per event")
    all_met = True
    task_prerun.connect(count_message)
    try:
        with running_celery_worker():
            for case, pause in (("one by one, without a pause", 0.0), ("one every 50 ms", 0.05)):
                before = seen[0]
                for _ in range(count):
                    event_receive(tenant_id=tenant.id, value=event_body(), source=EventSource.REST)
                    time.sleep(pause)
                eventually(is_routed, what="all are routed")
                all_met &= _print_messages(case, seen[0] - before, count)
            before = seen[0]
            for _ in range(count // 10):
                events_receive(tenant_id=tenant.id, values=[event_body() for _ in range(100)], source=EventSource.REST)
            eventually(is_routed, what="all are routed")
            all_met &= _print_messages("in batches of 100", seen[0] - before, count // 10 * 100)
    finally:
        task_prerun.disconnect(count_message)
    return all_met


def _print_messages(case: str, found: int, count: int) -> bool:
    print(
        f"{case:34}{count:7} events{found:7} messages{found / count:8.3f}  1: {'met' if found <= count else 'MISSED'}"
    )
    return found <= count


# -- From the event to the resumed run ---------------------------------------------------------------------------------


def latency(tenant: Any, *, count: int) -> bool:
    """Print the time from an accepted event to the resumed run."""
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
        eventually(lambda: waits.filter(status="WAITING").count() == count, seconds=300, what="all runs wait")
        to_workflow, to_projection = [], []
        for key in keys:
            value = event_body(payload={"ticketId": key})
            started = time.time()
            event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
            wait = eventually(waits.filter(correlation_key=key, status="RESOLVED").first, what="the wait is resolved")
            assert wait.resolved_at is not None
            to_workflow.append((wait.resolved_at - event.received_at).total_seconds() * 1000)
            to_projection.append((wait.projected_at.timestamp() - started) * 1000)
    print(f"\nFrom the accepted event to the resumed run: {count} waiting runs, one event after the other")
    print(f"{'':44}{'p50':>9}{'p99':>9}{'max':>9}")
    for case, found in (
        ("until the workflow continues", to_workflow),
        ("until the projection is written", to_projection),
    ):
        found.sort()
        print(f"{case:44}{found[count // 2]:6.0f} ms{found[int(count * 0.99)]:6.0f} ms{found[-1]:6.0f} ms")
    return True


# -- The program -------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of events, and events per second of one web process.")
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--only", choices=["sql", "rest", "messages", "latency"])
    options = parser.parse_args()
    from benchmarks.run_cost import environment

    met = []
    with environment(encrypted=False):
        from django.conf import settings

        from benchmarks import _ingress_sql
        from tests.support.factories import make_tenant, make_token

        settings.ALLOWED_HOSTS = ["*"]

        def is_wanted(part: str) -> bool:
            return options.only in (None, part)

        if is_wanted("rest"):
            met.append(
                rest(make_token(make_tenant()), rounds=1 if options.quick else 3, seconds=3 if options.quick else 10)
            )
        if is_wanted("messages"):
            met.append(messages(make_tenant(), count=100 if options.quick else 500))
        if is_wanted("latency"):
            met.append(latency(make_tenant(), count=20 if options.quick else 200))
        if is_wanted("sql"):
            settings.CELERY_TASK_DEFAULT_QUEUE = "no-worker"
            sizes = [100, 20_000] if options.quick else [100, 1_000_000]
            own = make_tenant()
            met.append(_ingress_sql.measure(own, make_token(own), sizes=sizes))
    print("\nEvery goal is met." if all(met) else "\nNot every goal is met.")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
