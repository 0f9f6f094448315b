"""Counts for the navigation: active incidents, open tasks and dead letters.

Every page shows them, so they cost one statement.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import IntegerField, QuerySet, Subquery

from workflows.models import EventDelivery, HumanTask, Incident, Tenant
from workflows.statuses import ACTIVE_INCIDENT_STATES, OPEN_TASK_STATUSES, DeliveryStatus

MOST_COUNTED = 100
PREFIX = "navigation_"


class CappedCount(Subquery):
    """Number of rows of a query, at most `limit`. The database reads no more rows.

    With the `order` of an index, PostgreSQL reads this index. Without it, it may scan the table, because it expects to
    find rows of a frequent part at once, also in a tenant that has none.
    """

    template = "(SELECT count(*) FROM (%(subquery)s) AS counted)"
    empty_result_set_value = 0

    def __init__(self, rows: QuerySet[Any], *, limit: int = MOST_COUNTED, order: Sequence[str] = ()) -> None:
        super().__init__(rows.order_by(*order).values("pk")[:limit], output_field=IntegerField())


def navigation_counts(*, tenant_id: uuid.UUID) -> dict[str, int]:
    """Return the counts by the name of the model. Each count is at most MOST_COUNTED."""
    return navigation_of(Tenant.objects.filter(id=tenant_id).values(**navigation_columns(tenant_id)).get())


def navigation_of(row: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of a row with the columns of `navigation_columns`."""
    return {name.removeprefix(PREFIX): count for name, count in row.items() if name.startswith(PREFIX)}


def navigation_columns(tenant_id: uuid.UUID) -> dict[str, CappedCount]:
    """Return the counts as columns of a statement that reads more about the tenant."""
    tasks = HumanTask.objects.filter(tenant_id=tenant_id, status__in=OPEN_TASK_STATUSES)
    dead = EventDelivery.objects.filter(tenant_id=tenant_id, status=DeliveryStatus.DEAD)
    incidents = Incident.objects.filter(tenant_id=tenant_id, merged_into__isnull=True, state__in=ACTIVE_INCIDENT_STATES)
    counted = {"incident": incidents, "humantask": tasks, "eventdelivery": dead}
    return {f"{PREFIX}{name}": CappedCount(rows) for name, rows in counted.items()}


def capped(count: int) -> str:
    """Return the count as text, for example `99+`."""
    return str(count) if count < MOST_COUNTED else f"{MOST_COUNTED - 1}+"
