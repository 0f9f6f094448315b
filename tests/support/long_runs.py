"""Runs with many rows. The database makes the rows, so that a run of 10,000 steps takes less than a second."""

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from tests.support.factories import expr, make_run, publish
from workflows.models import Run, RunStep
from workflows.projections.transaction import projection_writer


def insert_rows(row: Any, number: int, **changed: str) -> None:
    """Insert copies of a projection row with new ids. `changed`: SQL for columns, where `n` counts from 1."""
    table = row._meta.db_table
    columns = [field.column for field in row._meta.concrete_fields]
    selected = ["gen_random_uuid()" if name == "id" else changed.get(name, name) for name in columns]
    with projection_writer("test"), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(selected)} FROM {table},"
            " generate_series(1, %s) n WHERE id = %s",
            [number, row.id],
        )


def looping_run(
    tenant: Any,
    *,
    items: int,
    fails: bool = False,
    failed_every: int = 0,
    body: dict[str, Any] | None = None,
    correlation_key: str = "",
) -> Run:
    """Create a run with a loop `Each one` of this many items, followed by `The last step`.

    `fails`: the last step failed, and with it the run. `failed_every`: each n-th item has an error that is caught.
    """
    version = publish(
        tenant,
        {
            "id": "each", "name": "Each one", "type": "control.forEach", "items": expr("payload.rows"),
            "itemVar": "row", "onItemError": "continue",
            "body": [body or {"id": "item", "name": "One item", "type": "state.set", "config": {"state": "X"}}],
        },
        {"id": "last", "name": "The last step", "type": "state.set", "config": {"state": "LAST"}},
    )  # fmt: skip
    start = timezone.now() - timedelta(minutes=5)
    error = {
        "category": "ActionError", "code": "LAST_FAILED", "message": "the last step cannot end", "at": "",
        "nodePath": "root.steps[1]",
    }  # fmt: skip
    ending = {"error": error, "error_category": "ActionError", "error_code": "LAST_FAILED"} if fails else {}
    run = make_run(
        tenant, definition_version=version, status="FAILED" if fails else "SUCCEEDED",
        current_step_path="root.steps[1]", started_at=start, ended_at=start + timedelta(minutes=4),
        correlation_key=correlation_key, **ending,
    )  # fmt: skip
    with projection_writer("test"):
        _step(run, "root.steps[0]", "control.forEach", seq=1, name="Each one")
        first = _step(run, "root.steps[0].body.steps[0]", "state.set", seq=2, iteration="0") if items else None
        last = {"status": "FAILED", "error": error} if fails else {}
        _step(run, "root.steps[1]", "state.set", seq=items + 9, name="The last step", **last)
    if first is not None:
        bad = f"(n + 1) %% {failed_every} = 0" if failed_every else "false"
        insert_rows(
            first, items - 1, iteration="n::text", projection_seq="n + 2",
            status=f"CASE WHEN {bad} THEN 'FAILED' ELSE 'SUCCEEDED' END",
            error=f"CASE WHEN {bad} THEN '{{\"category\": \"ActionError\", \"code\": \"ITEM_BAD\"}}'::json END",
        )  # fmt: skip
    return run


def _step(run: Run, path: str, kind: str, *, seq: int, **fields: Any) -> RunStep:
    at = run.started_at or run.created_at
    values = {"step_id": path, "status": "SUCCEEDED", "started_at": at, "ended_at": at + timedelta(seconds=1), **fields}
    return RunStep.objects.create(
        tenant=run.tenant, run=run, step_path=path, step_type=kind, projection_seq=seq, **values
    )
