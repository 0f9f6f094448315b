"""The projection rows of a run as text, to compare them before and after a request."""

from django.core.serializers import serialize

from workflows.models import Run, RunStep, RunWait


def rows_of(run: Run) -> str:
    """The run's projection, byte for byte."""
    parts = [
        Run.objects.filter(id=run.id),
        RunWait.objects.filter(run=run),
        RunStep.objects.filter(run=run).order_by("id"),
    ]
    return "\n".join(serialize("json", rows) for rows in parts)
