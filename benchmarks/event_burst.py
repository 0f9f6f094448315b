"""Cost of a burst of events. N events arrive before one run needs them, and the run takes them one by one in a loop.

    python benchmarks/event_burst.py            10, 100 and 1,000 events, on its own servers; about five minutes
    python benchmarks/event_burst.py --quick    10 and 50 events, as a test of the program

Each line shows the cost of the burst divided by N. The exit status is 1 if the largest burst costs more than 1.2
deliveries or signals per event.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

GOAL = 1.2


def burst(tenant: Any, count: int) -> tuple[float, float, float, float]:
    """Return the numbers of deliveries, signals and database transactions per event, and the milliseconds per event."""
    from django.db import connections

    from ingress.intake.receive import events_receive
    from tests.support.factories import eventually, expr, make_actor, publish, wait_for_reply
    from workflows.models import EventDelivery, Run
    from workflows.services.runs.start import run_start
    from workflows.statuses import EventSource

    key = f"burst-{count}"
    keep = {"vars.seen": expr("vars.event.n")}
    loop = {"id": "each", "type": "control.forEach", "items": expr(f"[1..{count}]"), "itemVar": "round"}
    publish(tenant, {**loop, "body": [wait_for_reply(assign=keep)]}, key=key)
    values = [
        {
            "event_type": "TICKET_CUSTOMER_REPLIED",
            "payload": {"ticketId": key, "n": number},
            "workflow_correlation_key": key,
        }
        for number in range(count)
    ]
    events_receive(tenant_id=tenant.id, values=values, source=EventSource.REST)
    before = transactions_so_far(connections)
    started = time.monotonic()
    run_id, _ = run_start(actor=make_actor(tenant), definition_key=key, payload={"ticketId": key})
    run = Run.objects.get(id=run_id)
    eventually(lambda: Run.objects.filter(id=run_id, status="SUCCEEDED").exists(), seconds=1_800, what="the run ends")
    seconds = time.monotonic() - started
    statuses = Counter(EventDelivery.objects.filter(run=run).values_list("status", flat=True))
    sent = EventDelivery.objects.filter(run=run, sent_at__isnull=False).count()
    used = transactions_so_far(connections) - before
    return sum(statuses.values()) / count, sent / count, used / count, 1000 * seconds / count


def transactions_so_far(connections: Any) -> int:
    """Return the number of transactions of this database. PostgreSQL counts them."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small numbers")
    options = parser.parse_args()
    from benchmarks.run_cost import PORTAL, environment, worker

    with environment(encrypted=False):
        from tests.support.factories import make_tenant
        from tests.support.workers import running_celery_worker

        found = {}
        with worker(PORTAL), running_celery_worker():
            for count in [10, 50] if options.quick else [10, 100, 1_000]:
                found[count] = burst(make_tenant(), count)
    print(f"\n{'events':>8}{'deliveries':>14}{'signals':>12}{'transactions':>16}{'time':>14}     (each per event)")
    for count, (deliveries, signals, transactions, milliseconds) in found.items():
        print(f"{count:>8}{deliveries:>14.2f}{signals:>12.2f}{transactions:>16.1f}{milliseconds:>11.0f} ms")
    deliveries, signals, *_ = found[max(found)]
    return 0 if max(deliveries, signals) <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
