"""Inputs of the runs from which the requester of a replay job chooses the first one."""

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Subquery
from django.db.models.functions import JSONObject

from workflows.models import BulkItem, Run
from workflows.statuses import BulkItemState

SHOWN_FIRST = 5


def first_inputs() -> ArraySubquery:
    """Return an annotation for bulk jobs: the inputs of the first runs that start, each as `{run, input}`.

    The inputs are read when they are shown, because rows of bulk jobs are kept longer than runs.
    """
    items = BulkItem.objects.filter(
        tenant_id=OuterRef("tenant_id"), job=OuterRef("pk"), state=BulkItemState.PENDING
    ).order_by("position")
    inputs = Run.objects.filter(tenant_id=OuterRef("tenant_id"), id=OuterRef("target_id")).values("input")
    return ArraySubquery(items.values(found=JSONObject(run="target_id", input=Subquery(inputs)))[:SHOWN_FIRST])
