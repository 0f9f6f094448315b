"""Share of the machine that the reconciler takes, as the latency of a small load beside rows that it must compare.

    python benchmarks/reconciler_share.py                  5,000 unknown rows, 20,000 closed runs; about three minutes
    python benchmarks/reconciler_share.py --rows 94000 --closed 1000000
    python benchmarks/reconciler_share.py --quick          small numbers, as a test of the program

The load is events that each start a run of three steps. The latency is the time from the acceptance of the event to the
row of the ended run. The same load runs three times, with sweeps at the default interval:

1. alone
2. beside open rows that Temporal does not know, as after the loss of Temporal's database
3. beside these rows and closed runs

The exit status is 1 if the median of the second or third load is more than twice that of the first load.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

GOAL = 2.0
LOST = "lost"


def publish_order(tenant: Any) -> None:
    from tests.support.factories import publish
    from tests.support.history_cases import set_state, short_wait, store_value

    steps = [set_state("new"), store_value("keep", "payload.ticketId"), short_wait("nap", 10)]
    publish(tenant, *steps, key="order", trigger={"type": "event", "eventName": "ORDER"})


@contextmanager
def beat() -> Iterator[Counter[str]]:
    """Send the periodic tasks as Celery beat does. Return the number of sent tasks by name."""
    from django.conf import settings

    from portal.celery import app

    stop = threading.Event()
    sent: Counter[str] = Counter()

    def send(name: str, seconds: float, options: dict[str, Any]) -> None:
        while not stop.wait(seconds):
            app.send_task(name, **options)
            sent[name] += 1

    threads = []
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        arguments = (entry["task"], entry["schedule"].total_seconds(), entry["options"])
        threads.append(threading.Thread(target=send, args=arguments, daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield sent
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def load(tenant: Any, *, name: str, rate: float, seconds: float) -> list[float]:
    """Send events at this rate. Return the sorted latencies. Units: seconds."""
    from django.db.models import F

    from ingress.intake.receive import event_receive
    from tests.support.factories import eventually
    from workflows.models import Run
    from workflows.statuses import EventSource

    count = max(1, int(rate * seconds))
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        value = {"event_type": "ORDER", "payload": {"ticketId": f"{name}-{number}", "n": number}}
        event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST)
    runs = Run.objects.filter(tenant=tenant, correlation_key__startswith=f"{name}-", status="SUCCEEDED")
    eventually(lambda: runs.count() == count, seconds=600, what="all runs have ended")
    taken = runs.annotate(taken=F("projected_at") - F("event__received_at")).values_list("taken", flat=True)
    return sorted(one.total_seconds() for one in taken)


def add_rows(tenant: Any, *, count: int, status: str) -> None:
    """Insert runs with this status that Temporal does not know, each with one wait."""
    from benchmarks._filling import clone, copy_id
    from tests.support.events import open_wait
    from tests.support.factories import make_run

    run = make_run(tenant, status=status, temporal_first_run_id=LOST)
    wait = open_wait(tenant, run=run, key=f"template-{status}", name="REPLY")
    offset = {"WAITING": 0, "SUCCEEDED": 10_000_000}[status]
    long_ago = "now() - interval '1 hour' - (n % 3600) * interval '1 second'"
    clone(
        run,
        offset + 1,
        offset + count,
        temporal_workflow_id="'pointsman-run-' || md5('workflow_runs' || n)::uuid",
        projected_at=long_ago,
        created_at=long_ago,
    )
    clone(
        wait,
        offset + 1,
        offset + count,
        run_id=copy_id("workflow_runs"),
        correlation_key="'W-' || n",
        status=f"'{'WAITING' if status == 'WAITING' else 'RESOLVED'}'",
        opened_at=long_ago,
    )


def marked_rows(tenant: Any) -> int:
    from workflows.models import Run

    return Run.objects.filter(tenant=tenant, drift_found_at__isnull=False).count()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000, help="open rows that Temporal does not know")
    parser.add_argument("--closed", type=int, default=20_000, help="closed runs")
    parser.add_argument("--rate", type=float, default=2.0, help="events per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of each load")
    parser.add_argument("--quick", action="store_true", help="small numbers")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.closed, options.seconds = 100, 100, 5.0
    from benchmarks.run_cost import PORTAL, environment, worker

    found: dict[str, tuple[list[float], int]] = {}
    with environment(encrypted=False):
        from tests.support.factories import make_tenant
        from tests.support.workers import running_celery_worker

        tenant = make_tenant()
        publish_order(tenant)
        with worker(PORTAL), running_celery_worker(), beat():
            load(tenant, name="warm", rate=options.rate, seconds=5)

            def measure(case: str, name: str) -> None:
                before = marked_rows(tenant)
                latencies = load(tenant, name=name, rate=options.rate, seconds=options.seconds)
                found[case] = latencies, marked_rows(tenant) - before

            measure("alone", "a")
            add_rows(tenant, count=options.rows, status="WAITING")
            measure(f"beside {options.rows:,} unknown open rows", "b")
            add_rows(tenant, count=options.closed, status="SUCCEEDED")
            measure(f"beside these and {options.closed:,} closed runs", "c")
    base = next(iter(found.values()))[0]
    print(f"\n{options.rate:g} events per second, {options.seconds:g} s each")
    print(f"{'':44}{'p50':>9}{'p95':>9}{'p50 ratio':>12}{'rows marked':>14}")
    for case, (latencies, marked) in found.items():
        ratio = _at(latencies, 0.5) / _at(base, 0.5)
        print(f"{case:44}{_at(latencies, 0.5):7.2f} s{_at(latencies, 0.95):7.2f} s{ratio:12.2f}{marked:14,}")
    return 0 if all(_at(one, 0.5) <= GOAL * _at(base, 0.5) for one, _ in found.values()) else 1


def _at(latencies: list[float], part: float) -> float:
    return latencies[min(len(latencies) - 1, int(len(latencies) * part))]


if __name__ == "__main__":
    sys.exit(main())
