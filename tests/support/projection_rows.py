"""Projection rows of runs, in forms that tests compare before and after a change."""

from typing import Any

from django.core.serializers import serialize

from workflows.models import HumanTask, Run, RunStep, RunWait

# These fields change when the projection is checked or written again, although the run is the same.
NOT_COMPARED = ("projected_at", "history_event_count", "history_bytes", "counted_seq")


def rows_of_runs(*runs: Run) -> dict[str, Any]:
    """Return the fields of all projection rows of the runs, without the fields that every write changes.

    Shapes: {"table/primary key": {column: value}}.
    """
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
            for name in NOT_COMPARED:
                fields.pop(name, None)
            found[f"{row._meta.db_table}/{row.pk}"] = fields
    return found


def serialized_rows(run: Run) -> str:
    """Return the rows of a run, its waits and its steps as JSON text, with every field."""
    parts = [
        Run.objects.filter(id=run.id),
        RunWait.objects.filter(run=run),
        RunStep.objects.filter(run=run).order_by("id"),
    ]
    return "\n".join(serialize("json", rows) for rows in parts)
