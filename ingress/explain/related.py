"""Rows that belong to an event: conflicts, started runs, resolved waits, and the number of deliveries by status.

Source: docs/reference/events.md#decision-trace
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, QuerySet, Subquery
from django.db.models.functions import Coalesce, JSONObject

from workflows.models import Event, EventDelivery, Run, RunWait, Tenant
from workflows.selectors.delivery_targets import waiting_step

_RUN = {
    "definition": "definition_key", "definition_name": "definition__name", "key": "correlation_key",
    "version": "version", "run_status": "status",
}  # fmt: skip
_FACTS: dict[str, dict[str, Any]] = {
    "conflicts": {"id": "id", "received_at": "received_at", "source": "source", "sender": "sender"},
    "started_runs": {"run_id": "id", **_RUN},
    "resolved_waits": {
        "wait_id": "id", "step_id": "step_id", "step_name": waiting_step("step_path"), "step_path": "step_path",
        "resolved_at": "resolved_at",
        "run_id": "run_id", **{name: f"run__{field}" for name, field in _RUN.items()},
    },
}  # fmt: skip


@dataclass(frozen=True)
class EventRelated:
    """Rows of an event. `more` has for each list the number of rows that are left out.

    `delivery_counts` is by status. The keys of runs are not redacted.
    """

    delivery_counts: dict[str, int]
    conflicts: list[dict[str, Any]]
    started_runs: list[dict[str, Any]]
    resolved_waits: list[dict[str, Any]]
    more: dict[str, int]


def event_related(tenant_id: uuid.UUID, event: Event, *, limit: int) -> EventRelated:
    """Return the first `limit` rows of each list that belongs to the event. Cost: one statement."""
    lists: dict[str, QuerySet[Any]] = {
        "conflicts": Event.objects.filter(tenant_id=tenant_id, conflict_of=event).order_by("received_at", "id"),
        "started_runs": Run.objects.filter(tenant_id=tenant_id, event=event).order_by("id"),
        "resolved_waits": RunWait.objects.filter(tenant_id=tenant_id, event=event).order_by("resolved_at", "id"),
    }
    counts = EventDelivery.objects.filter(tenant_id=tenant_id, event=event).order_by().values("status")
    count = JSONObject(status="status", count="count")
    parts: dict[str, Any] = {"counts": ArraySubquery(counts.annotate(count=Count("id")).values(shown=count))}
    for name, rows in lists.items():
        parts[name] = ArraySubquery(rows.values(shown=JSONObject(**_FACTS[name]))[:limit])
        parts[f"all_{name}"] = _number(rows)
    found = Tenant.objects.filter(id=tenant_id).values_list(*parts.values()).get()
    row = dict(zip(parts, found, strict=True))
    return EventRelated(
        delivery_counts={entry["status"]: entry["count"] for entry in row["counts"]},
        more={name: row[f"all_{name}"] - len(row[name]) for name in lists},
        **{name: [_typed(facts) for facts in row[name]] for name in lists},
    )


def _number(rows: QuerySet[Any]) -> Coalesce:
    """Return the number of rows as an expression. All rows are of one tenant."""
    return Coalesce(Subquery(rows.order_by().values("tenant_id").annotate(number=Count("id")).values("number")), 0)


def _typed(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts with ids and times, which JSON has as texts."""
    ids: dict[str, Any] = {name: uuid.UUID(facts[name]) for name in ("id", "run_id", "wait_id") if name in facts}
    times = {name: datetime.fromisoformat(facts[name]) for name in ("received_at", "resolved_at") if facts.get(name)}
    return {**facts, **ids, **times}
