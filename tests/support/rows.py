"""A run's rows as they stand, field by field; and damage to them that only the tables' owner can do."""

from typing import Any

from django.db import connections

from workflows.models import HumanTask, Run, RunStep, RunWait


def rows_of(*runs: Run) -> dict[str, Any]:
    """All fields of the runs' rows but the time of their writing, by table and id."""
    ids = [run.id for run in runs]
    tables: list[Any] = [
        Run.objects.filter(id__in=ids),
        RunStep.objects.filter(run__in=ids),
        RunWait.objects.filter(run__in=ids),
        HumanTask.objects.filter(run__in=ids),
    ]
    found = {}
    for rows in tables:
        for row in rows:
            fields = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
            del_untold(fields)
            found[f"{row._meta.db_table}/{row.pk}"] = fields
    return found


def del_untold(fields: dict[str, Any]) -> None:
    """When a row was written, and how long the history was that it was compared with last: not of the run."""
    for name in ("projected_at", "history_event_count", "history_bytes"):
        fields.pop(name, None)


def as_owner(*statements: str) -> None:
    """As somebody with the owner's login and every guard off."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET session_replication_role = origin")
