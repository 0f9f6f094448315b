"""SQL statements per event, and whether any of their plans reads a whole table."""

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
# PostgreSQL reads a table of a page or two as a whole, whatever indexes it has; that is no fault of a plan.
SMALL_ROWS = 500
SCOPED = re.compile(r"(SELECT set_config\('role'[^;]*; )?(.*)", re.DOTALL)
_numbers = itertools.count(1)


def measure(tenant: Any, token: str, *, sizes: list[int]) -> bool:
    print("\nSQL statements per event (transaction control apart), and tables that a plan reads as a whole")
    print(f"{'stored':>10}  {'what':44}{'statements':>11}{'per event':>11}{'control':>9}{'ms':>8}  goal")
    held = True
    counts: dict[str, set[int]] = {}
    stored = 0
    for size in sizes:
        start = time.monotonic()
        fill(tenant, first=stored + 1, last=size)
        stored = size
        filled = f"(filled in {time.monotonic() - start:.0f} s)"
        scans: dict[str, str] = {}
        for what, events, goal, work in _cases(tenant, token):
            work()  # what a process does once: prepared caches, the token's time of use
            begun = time.monotonic()
            with CaptureQueriesContext(connection) as queries:
                work()
            took = (time.monotonic() - begun) * 1000
            # The scope of the tenant travels before each statement, in the same message.
            statements = [SCOPED.fullmatch(query["sql"]).groups() for query in queries.captured_queries]  # type: ignore[union-attr]
            data = [found for found in statements if not found[1].lstrip("(").upper().startswith(TRANSACTION)]
            counts.setdefault(what, set()).add(len(data))
            is_held = len(data) / events <= goal
            held &= is_held
            print(
                f"{size:10,}  {what:44}{len(data):11}{len(data) / events:11.2f}{len(statements) - len(data):9}{took:8.1f}"
                f"  {'-' if math.isinf(goal) else f'{goal:g}: held' if is_held else f'{goal:g}: MISSED'}"
            )
            for scope, sql in data:
                for table in sequential_scans(scope or "", sql):
                    scans[table] = sql
        print(f"{'':10}  whole tables read: {', '.join(scans) or 'none'} {filled}")
        for table, sql in scans.items():
            print(f"{'':12}{table}: {sql[:300]}")
        held &= not scans
    same = all(len(found) == 1 for found in counts.values())
    print(f"{'':10}  the same statements at every size: {'held' if same else f'MISSED {counts}'}")
    return held and same


def _cases(tenant: Any, token: str) -> list[tuple[str, int, float, Callable[[], None]]]:
    from ingress.dispatch.work import events_work

    client = Client(headers={"authorization": f"Bearer {token}"})

    def post(body: Any, *expected: int) -> None:
        answer = client.post("/api/v1/events", json.dumps(body), content_type="application/json")
        assert answer.status_code in expected, answer.content

    def one() -> dict[str, Any]:
        number = next(_numbers)
        return {
            "event_type": "REPLIED",
            "payload": {"ticketId": f"T-{number}", "text": "x" * 200},
            "event_id": f"e{number}",
        }

    def work() -> None:
        with signals_taken():
            events_work(tenant_id=tenant.id, seconds=60)

    def waits_for(bodies: list[dict[str, Any]]) -> None:
        fresh_waits(tenant, [body["payload"]["ticketId"] for body in bodies])

    def accepted_one() -> None:
        post(one(), 202)

    def accepted_batch() -> None:
        post({"events": [one() for _ in range(BATCH)]}, 207)

    def way(make: Callable[[], list[dict[str, Any]]], *, waited_for: bool) -> Callable[[], None]:
        """Bodies and waits are made outside the count, and what an earlier case has left is worked off first."""
        work()
        prepared = iter([make(), make()])

        def run() -> None:
            bodies = next(prepared)
            post(bodies[0] if len(bodies) == 1 else {"events": bodies}, 202, 207)
            work()

        if waited_for:
            kept = [make(), make()]
            prepared = iter(kept)
            for bodies in kept:
                waits_for(bodies)
        return run

    def single() -> list[dict[str, Any]]:
        return [one()]

    def many() -> list[dict[str, Any]]:
        return [one() for _ in range(BATCH)]

    anything = float("inf")
    return [
        ("accepted, one (its token's look-up included)", 1, SINGLE_GOAL, accepted_one),
        ("accepted, a batch of 100", BATCH, BATCH_GOAL, accepted_batch),
        ("accepted and routed to nobody, one", 1, anything, way(single, waited_for=False)),
        ("accepted and routed to nobody, batch of 100", BATCH, BATCH_GOAL, way(many, waited_for=False)),
        ("accepted, routed, delivered to a wait, one", 1, anything, way(single, waited_for=True)),
        ("accepted, routed, delivered, batch of 100", BATCH, BATCH_GOAL, way(many, waited_for=True)),
    ]


@contextmanager
def signals_taken() -> Any:
    """Temporal takes every signal at once: what is counted here is SQL."""
    from unittest import mock

    with mock.patch("ingress.dispatch.delivery.event_deliver_to_wait", return_value=("sent", "")):
        yield


def sequential_scans(scope: str, sql: str) -> list[str]:
    """Of the plan as the application gets it: in its role, and with the policies of row-level security."""
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
