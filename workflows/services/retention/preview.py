"""Number of rows that shorter retention periods would delete (docs/reference/retention.md#periods)."""

import uuid
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from workflows.models import Command, Event, Notification, Run, SignInRecord

MOST_COUNTED = 10_000
# Model of each part, its column of the age, and the column of its order.
PARTS: dict[str, tuple[type[Any], str, str]] = {
    "runs": (Run, "ended_at", "ended_at"),
    "events": (Event, "received_at", "received_at"),
    "notifications": (Notification, "created_at", "created_at"),
    "ledger": (Command, "requested_at", "requested_at"),
    "sign_ins": (SignInRecord, "at", "id"),  # ids sort by time
}


def older_rows(*, tenant_id: uuid.UUID, before: dict[str, datetime]) -> dict[str, str]:
    """Return the number of rows that are older than each time, by the name of the part.

    Rows that something else keeps are counted too, for example runs with a legal hold. The numbers are texts. Above
    MOST_COUNTED, the text is `10,000+`.

    Cost: one statement for each part, over an index and at most MOST_COUNTED + 1 rows.
    """
    counts: dict[str, str] = {}
    for name, time in before.items():
        model, field, order = PARTS[name]
        rows: QuerySet[Any] = model._default_manager.filter(tenant_id=tenant_id)
        oldest = rows.filter(**{f"{field}__isnull": False}).order_by(order).values("pk")[: MOST_COUNTED + 1]
        counts[name] = _text(rows.filter(pk__in=oldest, **{f"{field}__lt": time}).order_by().count())
    return counts


def _text(count: int) -> str:
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"
