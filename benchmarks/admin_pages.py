"""Cost of the operator's pages at 10 thousand and at 1 million runs: statements, bytes, time and plans.

    python benchmarks/admin_pages.py                     10,000 and 1,000,000 runs; about 30 minutes
    python benchmarks/admin_pages.py --rows 10000 100000
    python benchmarks/admin_pages.py --quick             300 and 3,000 runs, as a test of the program

Each run has three steps. There are as many events as runs, and one ledger row for every fourth run. Statements of role,
tenant and transaction are not counted. `bytes` is the size of the compressed page. `read` is the largest number of rows
that one statement reads from one table, from EXPLAIN ANALYZE as the application's role. `scans` names the big tables
that a statement reads without an index.

The exit status is 1 if a page needs more than 12 statements, scans a big table at the largest size, or takes more than
1.5 times the time of the smallest size.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

SIZES, QUICK_SIZES = (10_000, 1_000_000), (300, 3_000)
MOST_STATEMENTS, MOST_RATIO, MOST_LIST_BYTES = 12, 1.5, 60_000
REPEATS = 7
# A ratio of two times that are both below this limit says nothing.
NOISE_SECONDS = 0.05
BIG_TABLES = (
    "workflow_runs", "workflow_run_steps", "workflow_run_waits", "workflow_runtime_events", "workflow_event_keys",
    "workflow_event_deliveries", "workflow_commands", "workflow_tasks",
)  # fmt: skip
BATCH = 100_000


@dataclass
class Cost:
    """Cost of one page. Units: seconds, bytes."""

    statements: int
    bytes: int
    seconds: float
    read: int = 0
    status: int = 200
    scans: list[str] = field(default_factory=list)


class Filler:
    """Templates of all rows. `fill` copies them."""

    def __init__(self, tenant: Any) -> None:
        from ingress.intake.receive import event_receive
        from tests.support.events import open_wait
        from tests.support.factories import make_actor, make_run, publish
        from workflows.models import Command, EventDelivery, EventKey, HumanTask, RunStep
        from workflows.projections.transaction import projection_writer
        from workflows.services.definitions.pause import definition_pause
        from workflows.statuses import EventSource

        self.tenant, self.filled = tenant, 0
        step = {"id": "s", "type": "state.set", "config": {"state": "X"}}
        self.versions = [publish(tenant, step, key=f"flow-{number}") for number in range(20)]
        self.run = make_run(tenant, definition_version=self.versions[0], correlation_key="TEMPLATE")
        now = self.run.created_at
        with projection_writer("benchmark"):
            self.step = RunStep.objects.create(
                tenant=tenant, run=self.run, step_path="root.steps[0]", step_id="s", step_type="action",
                status="SUCCEEDED", started_at=now, ended_at=now, input={"amount": 1050}, output={"code": "OK"},
            )  # fmt: skip
        self.wait = open_wait(tenant, run=self.run, key="TEMPLATE", name="REPLIED")
        value = {"event_type": "REPLIED", "payload": {"ticketId": "TEMPLATE", "text": "x" * 200}}
        self.event = event_receive(tenant_id=tenant.id, value=value, source=EventSource.REST).event
        self.key = EventKey.objects.get(event=self.event)
        self.delivery = EventDelivery.objects.create(
            tenant=tenant, event=self.event, kind="wait", wait=self.wait, run=self.run, status="matched"
        )
        self.task = HumanTask.objects.create(
            tenant=tenant, run=self.run, step_path="root.steps[0]", task_type="check", title="Check it"
        )
        definition_pause(actor=make_actor(tenant), key="flow-19", reason="benchmark")
        self.command = Command.objects.filter(tenant=tenant, action="pause").get()

    def fill(self, total: int) -> None:
        """Add rows until there are `total` runs."""
        from django.db import connections

        for first in range(self.filled + 1, total + 1, BATCH):
            self._fill(first, min(first + BATCH - 1, total))
        self.filled = total
        with connections["owner"].cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")

    def _fill(self, first: int, last: int) -> None:
        from benchmarks._filling import clone, copy_id

        runs, events, waits = (copy_id(row._meta.db_table) for row in (self.run, self.event, self.wait))
        tenth = (first // 10 + 1, last // 10)
        at = "now() - interval '1 hour' - n * interval '2 seconds'"
        status = (
            "CASE WHEN n % 100 < 3 THEN 'WAITING' WHEN n % 100 < 4 THEN 'RUNNING' WHEN n % 100 < 12 THEN 'FAILED'"
            " WHEN n % 100 < 14 THEN 'CANCELED' ELSE 'SUCCEEDED' END"
        )
        is_failed = "n % 100 BETWEEN 4 AND 11"
        definition, version, key = (
            self._of_definition(lambda row: f"'{row.definition_id}'::uuid"),
            self._of_definition(lambda row: f"'{row.id}'::uuid"),
            self._of_definition(lambda row: f"'{row.definition.key}'"),
        )
        error = '{"category": "ACTION", "code": "NOT_FOUND", "message": "No payment", "nodePath": "root.steps[0]"}'
        clone(
            self.run, first, last, temporal_workflow_id="'pointsman-run-' || " + runs, correlation_key="'PAY-' || n",
            **folded(self.run, "correlation_key_folded", "'pay-' || n"), definition_id=definition,
            definition_version_id=version, definition_key=key, status=status, created_at=at, started_at=at,
            ended_at=f"CASE WHEN n % 100 < 4 THEN NULL ELSE {at} + interval '9 seconds' END",
            error=f"CASE WHEN {is_failed} THEN '{error}'::json END",
            error_category=f"CASE WHEN {is_failed} THEN 'ACTION' ELSE '' END",
            error_code=f"CASE WHEN {is_failed} THEN 'NOT_FOUND' ELSE '' END",
        )  # fmt: skip
        for number in range(3):
            clone(
                self.step, first, last, id=f"md5('step{number}-' || n)::uuid", run_id=runs, started_at=at,
                step_path=f"'root.steps[{number}]'", projection_seq=str(number),
            )  # fmt: skip
        tenth_run = "md5('workflow_runs' || n * 10)::uuid"
        clone(
            self.wait, *tenth, run_id=tenth_run, correlation_key="'WAIT-' || n", opened_at=at,
            status="CASE WHEN n % 10 = 0 THEN 'WAITING' ELSE 'RESOLVED' END",
            kind="CASE WHEN n % 100 = 0 THEN 'retry' ELSE 'event' END",
        )  # fmt: skip
        clone(
            self.event, first, last, event_id="'filled-' || n", event_type="'TYPE-' || n % 50",
            correlation_key="'PAY-' || n", correlation_keys="jsonb_build_array('PAY-' || n)", received_at=at,
            route_at=at, routed_at=at, outcome="CASE WHEN n % 20 = 0 THEN 'unmatched' ELSE 'delivered' END",
            **folded(self.event, "correlation_key_folded", "'pay-' || n"),
        )  # fmt: skip
        clone(
            self.key, first, last, event_id=events, event_type="'TYPE-' || n % 50", key="'PAY-' || n", received_at=at,
            **folded(self.key, "key_folded", "'pay-' || n"),
        )  # fmt: skip
        clone(
            self.delivery, *tenth, event_id="md5('workflow_runtime_events' || n)::uuid", run_id=tenth_run,
            wait_id=waits, created_at=at, status="CASE WHEN n % 500 = 0 THEN 'dead' ELSE 'matched' END",
        )  # fmt: skip
        clone(
            self.task, *tenth, run_id=tenth_run, wait_id=waits, created_at=at, due_at=f"{at} + interval '1 day'",
            status="CASE WHEN n % 50 = 0 THEN 'pending' ELSE 'completed' END",
        )  # fmt: skip
        clone(
            self.command, first // 4 + 1, last // 4, idempotency_key="'filled-' || n", requested_at=at,
            run_id="md5('workflow_runs' || n * 4)::uuid", target_id="md5('workflow_runs' || n * 4)::uuid::text",
        )  # fmt: skip

    def _of_definition(self, value: Any) -> str:
        """Return an SQL expression: half of the runs are of the first definition, the others of the other ones."""
        values = ", ".join(value(version) for version in self.versions)
        return f"(ARRAY[{values}])[CASE WHEN n % 2 = 0 THEN 1 ELSE 2 + (n / 2) % 19 END]"


def folded(row: Any, name: str, value: str) -> dict[str, str]:
    return {name: value} if any(one.name == name for one in row._meta.concrete_fields) else {}


def pages(filler: Filler) -> dict[str, str]:
    """Return the address of each page."""
    from django.urls import reverse

    def admin(name: str, query: str = "", *args: Any) -> str:
        return reverse(f"admin:{name}", args=args) + query

    runs = "workflows_run_changelist"
    return {
        "dashboard": admin("index"),
        "run list": admin(runs),
        "run list, failed": admin(runs, "?status__exact=FAILED"),
        "run list, definition": admin(runs, "?definition=flow-7"),
        "run list, key": admin(runs, "?q=pay-77"),
        "run list, no such key": admin(runs, "?q=nothing-77"),
        "run list, other order": admin(runs, "?o=key"),
        "run page": admin("workflows_run_change", "", filler.run.id),
        "events list": admin("workflows_event_changelist"),
        "events list, key": admin("workflows_event_changelist", "?q=pay-77"),
        "incidents": admin("workflows_incident_changelist"),
        "ledger": admin("workflows_command_changelist"),
        "tasks": admin("workflows_humantask_changelist"),
        "dead letters": admin("workflows_eventdelivery_changelist"),
        "GET /runs?correlation_key=": "/api/v1/runs?correlation_key=PAY-77",
    }


def measure(client: Any, tenant: Any, url: str) -> Cost:
    from django.core.cache import cache
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get(url)
    cache.clear()  # the dashboard keeps numbers for some seconds
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
    # Read the statements now, because the next request empties the log.
    statements = [sql for sql in map(statement_of, captured.captured_queries) if sql]
    body = b"".join(response.streaming_content) if response.streaming else response.content
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        client.get(url)
        taken.append(time.perf_counter() - started)
    size = len(gzip.compress(body, 6))
    cost = Cost(len(statements), size, statistics.median(taken), status=response.status_code)
    for sql in statements:
        for table, read, is_scan in reads_of(tenant, sql):
            cost.read = max(cost.read, read)
            cost.scans += [table] if is_scan and table not in cost.scans else []
    return cost


def statement_of(query: dict[str, str]) -> str:
    """Return a statement without the settings before it. Return an empty text for a control statement."""
    sql = query["sql"]
    if sql.startswith("SELECT set_config("):
        sql = sql.partition("; ")[2]
    is_control = sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "BEGIN", "SELECT set_config("))
    return "" if is_control else sql


def reads_of(tenant: Any, sql: str) -> Iterator[tuple[str, int, bool]]:
    """Yield for each scan of a big table its name, the rows that it reads, and if it uses no index."""
    from django.db import connection

    from workflows.tenancy import tenant_scope

    if not sql.startswith(("SELECT", "(SELECT", "WITH")):
        return
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql.replace('%', '%%')}", [])
        found = cursor.fetchone()[0]
    plan = json.loads(found) if isinstance(found, str) else found
    for node in nodes_of(plan[0]["Plan"]):
        if node.get("Relation Name") in BIG_TABLES:
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read = int((node["Actual Rows"] + removed) * node["Actual Loops"])
            yield node["Relation Name"], read, node["Node Type"] == "Seq Scan"


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def report(costs: dict[str, list[Cost]], sizes: list[int]) -> bool:
    """Print the table. Return True if all pages keep the limits."""
    heads = "".join(f"{f'{size:,}':>44}" for size in sizes)
    print(f"\n{'page':28}{heads}{'ratio':>8}")
    print(" " * 28 + "".join(f"{'SQL':>6}{'bytes':>9}{'ms':>9}{'read':>10}{'scans':>10}" for _ in sizes))
    is_good = True
    for page, found in costs.items():
        last, ratio = found[-1], found[-1].seconds / found[0].seconds
        cells = "".join(
            f"{cost.statements:6}{cost.bytes:9,}{cost.seconds * 1000:9.1f}{cost.read:10,}{len(cost.scans):10}"
            for cost in found
        )
        problems = [f"status {last.status}"] if last.status != 200 else []
        problems += [f"scans {', '.join(last.scans)}"] if last.scans else []
        problems += ["statements"] if last.statements > MOST_STATEMENTS else []
        problems += ["ratio"] if ratio > MOST_RATIO and last.seconds > NOISE_SECONDS else []
        problems += ["bytes"] if page.startswith("run list") and last.bytes > MOST_LIST_BYTES else []
        is_good = is_good and not problems
        print(f"{page:28}{cells}{ratio:8.2f}  {'; '.join(problems)}")
    return is_good


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="numbers of runs, in order")
    parser.add_argument("--quick", action="store_true", help="small numbers")
    options = parser.parse_args()
    sizes = list(QUICK_SIZES) if options.quick else sorted(options.rows)
    from benchmarks.run_cost import environment

    with environment(encrypted=False):
        from django.conf import settings

        from tests.support.factories import make_tenant
        from tests.support.members import member_of

        settings.ALLOWED_HOSTS = ["testserver"]
        tenant = make_tenant()
        filler, client = Filler(tenant), member_of(tenant)
        costs: dict[str, list[Cost]] = {page: [] for page in pages(filler)}
        for size in sizes:
            started = time.perf_counter()
            filler.fill(size)
            print(f"{size:,} runs, filled in {time.perf_counter() - started:.0f} s", flush=True)
            for page, url in pages(filler).items():
                costs[page].append(measure(client, tenant, url))
        is_good = report(costs, sizes)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
