"""Cost of the operator's pages at 10 thousand and at 1 million runs: statements, bytes, time and plans.

    python benchmarks/admin_pages.py                     10,000 and 1,000,000 runs; about 10 minutes on an idle machine
    python benchmarks/admin_pages.py --rows 10000 100000
    python benchmarks/admin_pages.py --quick             300 and 3,000 runs, as a test of the program

Each run has three steps. There are as many events as runs, and one ledger row for every fourth run. Statements of role,
tenant and transaction are not counted. `bytes` is the size of the compressed page. `read` is the largest number of rows
that one statement reads from one table, from EXPLAIN ANALYZE as the application's role. `scans` names the big tables
that a statement reads without an index. `poll` is the number of statements with which a live page learns that nothing
has changed. A page shows the same number of rows at each size. Requests to the sizes alternate, so that other load on
the machine slows all of them. The dashboard keeps its numbers of 24 hours for 30 s. `dashboard, cold` reads them in
each request.

The exit status is 1 if a page needs more than 12 statements, scans a big table at the largest size, reads more than
50,000 rows of one table in one statement, or takes more than 1.5 times the time of the smallest size.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks._portal_rows import Filler

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

SIZES, QUICK_SIZES = (10_000, 1_000_000), (300, 3_000)
MOST_STATEMENTS, MOST_RATIO, MOST_LIST_BYTES, MOST_READ = 12, 1.5, 60_000, 50_000
REPEATS = 15
COLD = "dashboard, cold"
BIG_TABLES = (
    "workflow_runs", "workflow_run_steps", "workflow_run_waits", "workflow_runtime_events", "workflow_event_keys",
    "workflow_event_deliveries", "workflow_commands", "workflow_tasks",
)  # fmt: skip


@dataclass
class Cost:
    """Cost of one page. Units: seconds, bytes."""

    statements: int
    bytes: int
    seconds: float = 0
    read: int = 0
    status: int = 200
    poll_statements: int | None = None
    scans: list[str] = field(default_factory=list)


def pages_of(rows: Filler) -> dict[str, str]:
    """Return the address of each page. The pages of single rows are those of the templates of `rows`."""
    from django.urls import reverse

    from workflows.admin.run_changelist import ORDERS

    def admin(name: str, query: str = "", *args: Any) -> str:
        return reverse(f"admin:{name}", args=args) + query

    runs = "workflows_run_changelist"
    return {
        "dashboard": admin("index"),
        COLD: admin("index"),
        "run list": admin(runs),
        "run list, failed": admin(runs, "?status__exact=FAILED"),
        "run list, definition": admin(runs, "?definition=flow-7"),
        "run list, key": admin(runs, "?q=pay-77"),
        "run list, no such key": admin(runs, "?q=nothing-77"),
        "run list, version": admin(runs, "?definition=flow-7&version=1"),
        "run list, open": admin(runs, "?status__exact=open"),
        "run list, replayed": admin(runs, "?replays=replayed"),
        **{f"run list, by {order}": admin(runs, f"?o={order}") for order in ORDERS if order != "started"},
        "run page": admin("workflows_run_change", "", rows.run.id),
        "events list": admin("workflows_event_changelist"),
        "events list, key": admin("workflows_event_changelist", "?q=pay-77"),
        "event page": admin("workflows_event_change", "", rows.event.id),
        "incidents": admin("workflows_incident_changelist"),
        "incident page": admin("workflows_incident_change", "", rows.incident.id),
        "definitions": admin("workflows_definition_changelist"),
        "definition page": admin("workflows_definition_change", "", rows.versions[0].definition_id),
        "next": admin("next"),
        "system health": admin("health"),
        "palette": admin("search", "?s=pay-77"),
        "ledger": admin("workflows_command_changelist"),
        "tasks": admin("workflows_humantask_changelist"),
        "task page": admin("workflows_humantask_change", "", rows.task.id),
        "dead letters": admin("workflows_eventdelivery_changelist"),
        "GET /runs?correlation_key=": "/api/v1/runs?correlation_key=PAY-77",
    }


@dataclass
class Side:
    """One size: its database, its tenant, a member who is signed in, and the addresses of the pages."""

    database: Any
    tenant: Any
    client: Any
    pages: dict[str, str]

    @classmethod
    def of_size(cls, size: int) -> Side:
        from benchmarks._databases import Database
        from benchmarks._portal_rows import Filler
        from tests.support.factories import make_tenant
        from tests.support.members import member_of

        started = time.perf_counter()
        database = Database.create(f"rows_{size}")
        with database.used():
            filler = Filler(make_tenant())
            filler.fill(size)
            client = member_of(filler.tenant)
        print(f"{size:,} runs, filled in {time.perf_counter() - started:.0f} s", flush=True)
        return cls(database, filler.tenant, client, pages_of(filler))


def measure(sides: list[Side], page: str) -> list[Cost]:
    """Return the cost of a page for each side."""
    costs = []
    for side in sides:
        with side.database.used():
            costs.append(plans_of(side, side.pages[page]))
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(REPEATS):
        for side, times in zip(sides, taken, strict=True):
            with side.database.used():
                times.append(seconds_of(side, page))
    for cost, times in zip(costs, taken, strict=True):
        cost.seconds = statistics.median(times)
    return costs


def seconds_of(side: Side, page: str) -> float:
    from django.core.cache import caches

    if page == COLD:
        caches["process"].delete(f"dashboard-activity-{side.tenant.id}")
    started = time.perf_counter()
    side.client.get(side.pages[page])
    return time.perf_counter() - started


def plans_of(side: Side, url: str) -> Cost:
    from django.core.cache import caches

    side.client.get(url)
    for cache in caches.all():
        cache.clear()  # the dashboard keeps numbers for some seconds
    response, statements, of_sign_in = sent_by(side.client, url)
    body = b"".join(response.streaming_content) if response.streaming else response.content
    cost = Cost(len(statements) + len(of_sign_in), len(gzip.compress(body, 6)), status=response.status_code)
    if version := re.search(r'data-version="([^"]+)"', body.decode()):
        _, *sent = sent_by(side.client, url, {"If-None-Match": f'"{version[1]}"'})
        cost.poll_statements = sum(map(len, sent))
    for sql in statements:
        for table, read, is_scan in reads_of(side.tenant, sql):
            cost.read = max(cost.read, read)
            cost.scans += [table] if is_scan and table not in cost.scans else []
    return cost


def sent_by(client: Any, url: str, headers: dict[str, str] | None = None) -> tuple[Any, list[str], list[str]]:
    """Send a request. Return the response, the statements of the application, and those of the login of sign-in."""
    from django.db import connections
    from django.test.utils import CaptureQueriesContext

    from tests.support.statements import statement_of

    with ExitStack() as stack:
        logs = [stack.enter_context(CaptureQueriesContext(connections[name])) for name in ("default", "signin")]
        response = client.get(url, headers=headers)
    # Read the statements now, because the next request empties the log.
    own, of_sign_in = ([sql for sql in map(statement_of, log.captured_queries) if sql] for log in logs)
    return response, own, of_sign_in


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
    heads = "".join(f"{f'{size:,}':>49}" for size in sizes)
    print(f"\n{'page':28}{heads}{'ratio':>8}")
    print(" " * 28 + "".join(f"{'SQL':>5}{'poll':>6}{'bytes':>9}{'ms':>9}{'read':>10}{'scans':>10}" for _ in sizes))
    is_good = True
    for page, found in costs.items():
        last, ratio = found[-1], found[-1].seconds / found[0].seconds
        cells = "".join(
            f"{cost.statements:5}{'' if cost.poll_statements is None else cost.poll_statements:>6}{cost.bytes:9,}"
            f"{cost.seconds * 1000:9.1f}{cost.read:10,}{len(cost.scans):10}"
            for cost in found
        )
        problems = [f"status {last.status}"] if last.status != 200 else []
        problems += [f"scans {', '.join(last.scans)}"] if last.scans else []
        problems += ["reads"] if last.read > MOST_READ else []
        problems += ["statements"] if last.statements > MOST_STATEMENTS else []
        problems += ["ratio"] if ratio > MOST_RATIO else []
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

        settings.ALLOWED_HOSTS = ["testserver"]
        sides = [Side.of_size(size) for size in sizes]
        is_good = report({page: measure(sides, page) for page in sides[0].pages}, sizes)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
