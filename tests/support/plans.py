"""Plans of queries, as PostgreSQL makes them for the application's role inside one tenant.

PostgreSQL may scan a table only where no index can be used. Otherwise the rows and statistics of other tests would
decide whether it scans the small tables of tests. So a plan shows which indexes can serve a query. The number of rows
that a query reads shows whether they serve it well.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, connections, models
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from workflows.tenancy import tenant_scope


def copies(row: models.Model, number: int, /, **columns: str) -> None:
    """Insert copies of a row. `columns` are SQL expressions that can contain `n`, from 1 to `number`.

    Triggers and foreign keys are switched off. The table is analysed afterwards.
    """
    table = row._meta.db_table
    names = [field.column for field in row._meta.concrete_fields if not field.generated]
    given = {"id": "gen_random_uuid()", **columns}
    chosen = ", ".join(given.get(name, f'template."{name}"') for name in names)
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f'INSERT INTO "{table}" ({", ".join(names)}) SELECT {chosen} FROM "{table}" AS template,'
            f" generate_series(1, {number}) AS n WHERE template.id = '{row.pk}'"
        )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute(f'VACUUM ANALYZE "{table}"')


def plan_of(tenant: Any, rows: QuerySet[Any]) -> list[dict[str, Any]]:
    """Return all nodes of the plan of a query."""
    sql, parameters = rows.query.sql_with_params()
    with _no_scans(), tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", parameters)
        found = cursor.fetchone()[0]
    plan = json.loads(found) if isinstance(found, str) else found
    return list(_nodes(plan[0]["Plan"]))


def conditions_of(tenant: Any, rows: QuerySet[Any]) -> str:
    """Return the conditions with which the plan reads indexes. Assert that it scans no table without an index."""
    nodes = plan_of(tenant, rows)
    scans = [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]
    assert not scans, f"the plan scans {scans}"
    return " ".join(node.get("Index Cond", "") for node in nodes)


def rows_read(tenant: Any, call: Callable[[], Any], table: str) -> int:
    """Call a function. Return the number of rows that its statements read from a table, with those they leave out."""
    nodes = _nodes_of_call(tenant, call, "ANALYZE, FORMAT JSON")
    return sum(_read(node) for node in nodes if node.get("Relation Name") == table)


def indexes_read(tenant: Any, call: Callable[[], Any]) -> list[str]:
    """Call a function. Return the names of the indexes that its statements read, in the order of the plans."""
    return [node["Index Name"] for node in _nodes_of_call(tenant, call, "FORMAT JSON") if "Index Name" in node]


def _read(node: dict[str, Any]) -> int:
    left_out = sum(node.get(f"Rows Removed by {reason}", 0) for reason in ("Filter", "Index Recheck"))
    return int((node["Actual Rows"] + left_out) * node["Actual Loops"])


def _nodes_of_call(tenant: Any, call: Callable[[], Any], options: str) -> Iterator[dict[str, Any]]:
    with tenant_scope(tenant.id), CaptureQueriesContext(connection) as captured:
        call()
    with _no_scans(), tenant_scope(tenant.id), connection.cursor() as cursor:
        for query in captured.captured_queries:
            sql = query["sql"].partition("; ")[2] if query["sql"].startswith("SELECT set_config(") else query["sql"]
            if not sql.startswith(("SELECT", "(SELECT")):
                continue
            cursor.execute(f"EXPLAIN ({options}) {sql.replace('%', '%%')}", [])
            found = cursor.fetchone()[0]
            plan = json.loads(found) if isinstance(found, str) else found
            yield from _nodes(plan[0]["Plan"])


@contextmanager
def no_sorts() -> Iterator[None]:
    """Let PostgreSQL read rows in the order of an index wherever it can.

    With the statistics of some samples, a sort of all rows costs it as little as the index.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET enable_sort = off")
        cursor.execute("SET enable_bitmapscan = off")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET enable_sort")
            cursor.execute("RESET enable_bitmapscan")


@contextmanager
def _no_scans() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET enable_seqscan")


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
