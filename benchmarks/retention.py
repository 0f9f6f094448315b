"""Speed of retention: deleted rows per second and table, batches, memory, and the latency of live writes beside it.

    python benchmarks/retention.py                    200,000 old runs, on its own servers; about ten minutes
    python benchmarks/retention.py --rows 1000000
    python benchmarks/retention.py --table 830000     20,000 old runs of a small table, then of one with 10 million rows
    python benchmarks/retention.py --quick            2,000 old runs, as a test of the program

Each old run has four steps, a wait, a log line, a value, an action call, an event with a key and a delivery. A fifth of
the runs is young and stays. One command for each 100 runs is in the old part of the ledger.

The exit status is 1 if one of these goals is missed:

- no transaction takes longer than 5 s
- a row of the last tenth of the batches takes at most twice the time of a row of the first tenth. Otherwise the time
  would grow with the number of deleted rows, and a big table would take too long
- the median latency of live writes is at most three times that without the deletion
- exactly the young rows are left, and the ledger is intact

A batch depends on the size of the table only through the depth of the indexes. `--table` measures this: it deletes the
same number of old runs from a small and from a big table. The goal is at most twice the time of a row.

PostgreSQL reuses the space of deleted rows after its autovacuum, and returns it to the system only after VACUUM FULL.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

LONGEST, GROWTH, SLOWER = 5.0, 2.0, 3.0
SHOW_EVERY = 10.0
STEPS, CHUNK = 4, 50_000
OLD, ROWS_OF_RUN = 20_000, 12
RUN_OF_STEP = f"md5('workflow_runs' || ((n - 1) / {STEPS} + 1))::uuid"


class Batch(NamedTuple):
    """One batch: its seconds, deleted rows and statements."""

    seconds: float
    rows: int
    statements: int


def fill(tenant: Any, *, first: int, last: int, old: int) -> None:
    """Store runs with these numbers and all their rows. The first `old` runs are old."""
    from benchmarks._filling import clone, copy_id
    from tests.support.old_runs import fill_run, make_old_event, make_old_run
    from workflows.models import ActionInvocation, HumanTask, Notification, Run, TaskDraft

    event, run = make_old_event(tenant), make_old_run(tenant)
    fill_run(run, event)
    for model in (TaskDraft, HumanTask, Notification):
        model.objects.filter(tenant=tenant).delete()
    ActionInvocation.objects.filter(tenant=tenant, idempotency_key__startswith="payment").delete()
    run = Run.objects.get(id=run.id)
    age = f"now() - interval '1 second' * n - interval '1 day' * CASE WHEN n < {first + old} THEN 91 ELSE 1 END"
    run_id, event_id, wait_id = (
        copy_id(name) for name in ("workflow_runs", "workflow_runtime_events", "workflow_run_waits")
    )
    delivery, wait = event.deliveries.get(), run.waits.get()
    for begin in range(first, last + 1, CHUNK):
        end = min(last, begin + CHUNK - 1)
        clone(event, begin, end, event_id="'old-' || n", received_at=age, routed_at=age)
        for key in event.keys.all():
            clone(key, begin, end, event_id=event_id, key="'K-' || n", received_at=age)
        clone(run, begin, end, temporal_workflow_id="'old-' || n", event_id=event_id, ended_at=age, created_at=age)
        clone(wait, begin, end, run_id=run_id, event_id=event_id)
        clone(delivery, begin, end, event_id=event_id, run_id=run_id, wait_id=wait_id)
        for table in (run.logs.get(), run.values.get()):
            clone(table, begin, end, run_id=run_id)
        clone(run.invocations.get(), begin, end, run_id=run_id, idempotency_key=f"{run_id} || '/s'")
        clone(
            run.steps.get(), (begin - 1) * STEPS + 1, end * STEPS, run_id=RUN_OF_STEP, child_run_id="NULL::uuid",
            iteration="n::text",
        )  # fmt: skip
        print(f"filled {end:,} runs", flush=True)


def fill_ledger(tenant: Any, commands: int) -> None:
    from tests.support.factories import make_actor
    from tests.support.table_owner import execute_as_owner
    from workflows.ledger import command_open
    from workflows.statuses import CommandAction

    for number in range(commands):
        command_open(actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(number))
    execute_as_owner("UPDATE workflow_command_entries SET written_at = now() - interval '731 days'")


@contextmanager
def live_writes(tenant: Any) -> Iterator[list[float]]:
    """Store an event 20 times a second, as entry points do. Yield the latencies."""
    from django.db import close_old_connections

    from ingress.intake.receive import event_receive
    from workflows.statuses import EventSource
    from workflows.tenancy import tenant_scope

    stop = threading.Event()
    latencies: list[float] = []

    def write() -> None:
        with tenant_scope(tenant.id):
            while not stop.wait(0.05):
                started = time.monotonic()
                value = {"event_type": "LIVE", "payload": {"ticketId": str(len(latencies))}}
                event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST)
                latencies.append(time.monotonic() - started)
        close_old_connections()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield latencies
    finally:
        stop.set()
        thread.join()


def prune(tenant: Any) -> tuple[dict[str, Any], dict[str, list[Batch]]]:
    """Delete the old rows. Return the last progress of each part, and its batches."""
    from django.db import connection

    from workflows.services.retention.prune import Pass, tenants_prune

    statements = 0

    def count(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal statements
        statements += 1
        return execute(sql, params, many, context)

    ends: dict[str, Any] = {}
    batches: dict[str, list[Batch]] = defaultdict(list)
    before = Batch(0.0, 0, 0)
    shown = started = time.monotonic()
    with connection.execute_wrapper(count):
        for progress in tenants_prune(tenants=[tenant], options=Pass()):
            if not batches[progress.part]:
                before = Batch(0.0, 0, before.statements)
            now = Batch(progress.seconds, progress.total, statements)
            batches[progress.part].append(Batch(*(new - old for new, old in zip(now, before, strict=True))))
            before, ends[progress.part] = now, progress
            if time.monotonic() - shown > SHOW_EVERY:
                shown = time.monotonic()
                print(
                    f"{shown - started:6.0f} s  {progress.part}: {progress.total:>10,} rows deleted,"
                    f" {progress.total / progress.seconds:,.0f} rows/s, {memory():,.0f} MiB",
                    flush=True,
                )
    return ends, batches


@contextmanager
def temporal_timed() -> Iterator[list[float]]:
    """Measure the comparison of runs with Temporal. Yield the seconds of each batch."""
    from workflows.services.retention import open_runs

    closings, times = open_runs.closings, []

    def timed(workflow_ids: Any) -> Any:
        started = time.monotonic()
        try:
            return closings(workflow_ids)
        finally:
            times.append(time.monotonic() - started)

    open_runs.closings = timed
    try:
        yield times
    finally:
        open_runs.closings = closings


def memory() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def tenths(batches: list[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Return the first and the last tenth of the batches. The last batch is left out, because it is partial."""
    whole = batches[:-1] or batches
    tenth = max(1, len(whole) // 10)
    return whole[:tenth], whole[-tenth:]


def per_row(batches: list[Batch]) -> float:
    """Return the seconds for each deleted row."""
    return sum(batch.seconds for batch in batches) / max(1, sum(batch.rows for batch in batches))


def compare(table: int) -> bool:
    """Delete the same number of old runs of a small and of a big table. Return True if the time of a row holds."""
    from tests.support.factories import make_tenant

    times, filled = [], 0
    for young in (OLD // 4, table - OLD):
        tenant = make_tenant()
        fill(tenant, first=filled + 1, last=filled + OLD + young, old=OLD)
        filled += OLD + young
        ends, batches = prune(tenant)
        for part in ("runs", "events"):
            median = 1000 * statistics.median(batch.seconds for batch in batches[part])
            print(
                f"{filled:>9,} runs, {filled * ROWS_OF_RUN:>11,} rows: {part:<7}{ends[part].total:>9,} rows deleted,"
                f" batch {median:6,.0f} ms, longest {1000 * ends[part].longest:6,.0f} ms",
                flush=True,
            )
        times.append([per_row(batches[part]) for part in ("runs", "events")])
    ratios = [big / small for small, big in zip(*times, strict=True)]
    print("time for a row, big / small table: runs {:.2f}, events {:.2f}".format(*ratios))
    return max(ratios) <= GROWTH


def report(tenant: Any, rows: int) -> bool:
    """Measure, print, and return True if all goals are met."""
    from workflows.models import CommandEntry, Event, Run, RunStep
    from workflows.services.audit_verify import audit_verify

    with live_writes(tenant) as alone:
        time.sleep(5)
    started_with = memory()
    with live_writes(tenant) as beside, temporal_timed() as asked:
        ends, batches = prune(tenant)
    longest, grown = 0.0, 0.0
    for part, end in ends.items():
        if not end.total:
            continue
        first, last = tenths(batches[part])
        ratio = per_row(last) / per_row(first)
        longest = max(longest, end.longest)
        grown = max(grown, ratio if part in ("runs", "events") else 0.0)
        begin_ms, end_ms = (1000 * statistics.median(batch.seconds for batch in tenth) for tenth in (first, last))
        statements = statistics.median(batch.statements for batch in batches[part])
        print(
            f"\n{part}: {end.total:,} rows in {len(batches[part]):,} batches and {end.seconds:.1f} s,"
            f" {end.total / end.seconds:,.0f} rows/s\n"
            f"  batch: {begin_ms:,.0f} ms in the first tenth, {end_ms:,.0f} ms in the last tenth, longest"
            f" {1000 * end.longest:,.0f} ms, {statements:.0f} statements; time for a row, last / first tenth"
            f" {ratio:.2f} {end.problem}"
        )
        for table, count in end.rows.most_common():
            print(f"  {table:<32}{count:>12,} rows{count / end.seconds:>12,.0f} rows/s")
    print(
        f"\nTemporal: asked {len(asked):,} times, {sum(asked):.1f} s, median {1000 * statistics.median(asked):,.0f} ms"
    )
    slower = statistics.median(beside) / statistics.median(alone)
    print(
        f"\nlive writes: median {1000 * statistics.median(alone):.1f} ms alone,"
        f" {1000 * statistics.median(beside):.1f} ms beside the deletion ({slower:.1f} times),"
        f" slowest {1000 * max(beside):,.0f} ms, {len(beside):,} writes"
    )
    left = [
        Run.objects.filter(tenant=tenant).count(),
        RunStep.objects.filter(tenant=tenant).count() // STEPS,
        Event.objects.filter(tenant=tenant, event_id__startswith="old-").count(),
    ]
    verified = audit_verify(tenant_id=tenant.id)
    problems = verified.problems
    young = rows - rows * 4 // 5
    print(f"memory of this process: {memory():,.0f} MiB, {started_with:,.0f} MiB before the deletion")
    print(f"left: {left} of {young} young runs, their steps / {STEPS}, and events")
    print(
        f"ledger: {problems or 'intact'}, {verified.pruned_links:,} links deleted before the checkpoint,"
        f" {CommandEntry.objects.filter(tenant=tenant).count():,} links verified after it"
    )
    is_right = left == [young] * 3 and not problems
    return longest <= LONGEST and grown <= GROWTH and slower <= SLOWER and is_right


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000, help="number of runs")
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--table", type=int, help="number of runs of the big table; compare it with a small one")
    options = parser.parse_args()
    rows = 2_000 if options.quick else options.rows
    from benchmarks.run_cost import environment

    with environment(encrypted=False):
        from tests.support.factories import make_tenant

        if options.table:
            return 0 if compare(options.table) else 1
        tenant = make_tenant()
        fill(tenant, first=1, last=rows, old=rows * 4 // 5)
        fill_ledger(tenant, rows // 100)
        return 0 if report(tenant, rows) else 1


if __name__ == "__main__":
    sys.exit(main())
