"""SQL statements for each event, and the tables that these statements read completely."""

import itertools
import json
import math
import re
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from benchmarks._filling import fill, fresh_waits

TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE", "ROLLBACK")
SINGLE_GOAL, BATCH_GOAL = 5.0, 1.2
BATCH = 100
# PostgreSQL reads a table of one or two pages completely, even if it has an index. Such a plan is not an error.
SMALL_ROWS = 500
SCOPED = re.compile(r"(SELECT set_config\('role'[^;]*; )?(.*)", re.DOTALL)
_numbers = itertools.count(1)


def measure(tenant: Any, token: str, *, sizes: list[int]) -> bool:
    print("\nSQL statements per event (without transaction control), and tables that a plan reads completely")
    print(f"{'stored':>10}  {'case':44}{'statements':>11}{'per event':>11}{'control':>9}{'ms':>8}  goal")
    all_met = True
    counts: dict[str, set[int]] = {}
    stored = 0
    for size in sizes:
        start = time.monotonic()
        fill(tenant, first=stored + 1, last=size)
        stored = size
        filled = f"(filled in {time.monotonic() - start:.0f} s)"
        scans: dict[str, str] = {}
        for case, events, goal, work in _cases(tenant, token):
            work()  # a first call fills the process's caches and updates the token's last use
            started = time.monotonic()
            with CaptureQueriesContext(connection) as queries:
                work()
            took = (time.monotonic() - started) * 1000
            # Each message to the database has two parts: the statement that sets the tenant's scope, then the actual
            # statement.
            statements = [split_scope(query["sql"]) for query in queries.captured_queries]
            data = [found for found in statements if not found[1].lstrip("(").upper().startswith(TRANSACTION)]
            counts.setdefault(case, set()).add(len(data))
            is_met = len(data) / events <= goal
            all_met &= is_met
            print(
                f"{size:10,}  {case:44}{len(data):11}{len(data) / events:11.2f}"
                f"{len(statements) - len(data):9}{took:8.1f}"
                f"  {'-' if math.isinf(goal) else f'{goal:g}: met' if is_met else f'{goal:g}: MISSED'}"
            )
            for scope, sql in data:
                for table in sequential_scans(scope or "", sql):
                    scans[table] = sql
        print(f"{'':10}  tables read completely: {', '.join(scans) or 'none'} {filled}")
        for table, sql in scans.items():
            print(f"{'':12}{table}: {sql[:300]}")
        all_met &= not scans
    same = all(len(found) == 1 for found in counts.values())
    print(f"{'':10}  same number of statements at every size: {'met' if same else f'MISSED {counts}'}")
    return all_met and same


def _cases(tenant: Any, token: str) -> list[tuple[str, int, float, Callable[[], None]]]:
    from ingress.dispatch.work import events_work

    client = Client(headers={"authorization": f"Bearer {token}"})

    def post(body: Any, *expected: int) -> None:
        response = client.post("/api/v1/events", json.dumps(body), content_type="application/json")
        assert response.status_code in expected, response.content

    def one() -> dict[str, Any]:
        number = next(_numbers)
        return {
            "event_type": "REPLIED",
            "payload": {"ticketId": f"T-{number}", "text": "x" * 200},
            "event_id": f"e{number}",
        }

    def work() -> None:
        with accepted_signals():
            events_work(tenant_id=tenant.id, seconds=60)

    def open_waits(bodies: list[dict[str, Any]]) -> None:
        fresh_waits(tenant, [body["payload"]["ticketId"] for body in bodies])

    def accepted_one() -> None:
        post(one(), 202)

    def accepted_batch() -> None:
        post({"events": [one() for _ in range(BATCH)]}, 207)

    def whole_path(make: Callable[[], list[dict[str, Any]]], *, with_waits: bool) -> Callable[[], None]:
        """Return the measured function. The preparation is not measured.

        It finishes earlier work and creates bodies and waits.
        """
        work()
        prepared = iter([make(), make()])

        def run() -> None:
            bodies = next(prepared)
            post(bodies[0] if len(bodies) == 1 else {"events": bodies}, 202, 207)
            work()

        if with_waits:
            kept = [make(), make()]
            prepared = iter(kept)
            for bodies in kept:
                open_waits(bodies)
        return run

    def single() -> list[dict[str, Any]]:
        return [one()]

    def many() -> list[dict[str, Any]]:
        return [one() for _ in range(BATCH)]

    no_goal = float("inf")
    return [
        ("accepted, one (with the token's query)", 1, SINGLE_GOAL, accepted_one),
        ("accepted, batch of 100", BATCH, BATCH_GOAL, accepted_batch),
        ("accepted, routed to no target, one", 1, no_goal, whole_path(single, with_waits=False)),
        ("accepted, routed to no target, batch of 100", BATCH, BATCH_GOAL, whole_path(many, with_waits=False)),
        ("accepted, routed, delivered to a wait, one", 1, no_goal, whole_path(single, with_waits=True)),
        ("accepted, routed, delivered, batch of 100", BATCH, BATCH_GOAL, whole_path(many, with_waits=True)),
    ]


def split_scope(sql: str) -> tuple[str | None, str]:
    """Return the statement that sets the tenant's scope, or None, and the actual statement."""
    found = SCOPED.fullmatch(sql)
    assert found is not None
    return found[1], found[2]


@contextmanager
def accepted_signals() -> Any:
    """Replace the call to Temporal by a function that succeeds at once, because only SQL is measured here."""
    from unittest import mock

    with mock.patch("ingress.dispatch.delivery.event_deliver_to_wait", return_value=("sent", "")):
        yield


def sequential_scans(scope: str, sql: str) -> list[str]:
    """Return the tables that the plan reads completely.

    The plan is made with the application's role and row-level security.
    """
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"{scope}EXPLAIN (FORMAT JSON) {sql}")
        if scope:
            cursor.nextset()
        plan = cursor.fetchone()[0]
        cursor.execute("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'")
        rows = dict(cursor.fetchall())
    return [name for name in _scanned(plan[0]["Plan"]) if rows[name] > SMALL_ROWS]


def _scanned(node: dict[str, Any]) -> list[str]:
    own = [node["Relation Name"]] if node["Node Type"] == "Seq Scan" else []
    return own + [name for inner in node.get("Plans", []) for name in _scanned(inner)]
