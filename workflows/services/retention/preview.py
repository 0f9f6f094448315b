"""Number of rows that shorter retention periods would delete (docs/reference/retention.md#periods)."""

from typing import Any

from django.db.models import QuerySet

from workflows.actors import Actor
from workflows.models import Command, Event, Notification, Run, SignInRecord, Tenant
from workflows.services.retention.policy import RetentionPolicy, policy_of
from workflows.statuses import Role

MOST_COUNTED = 10_000


def retention_preview(*, actor: Actor, policy: RetentionPolicy) -> dict[str, str]:
    """Return the number of rows that are older than each period that `policy` would shorten, by the name of the part.

    Rows that something else keeps are counted too, for example runs with a legal hold. The numbers are texts. Above
    MOST_COUNTED, the text is `10,000+`.

    Errors: PermissionRefused.
    Cost: at most six statements, each over an index and at most MOST_COUNTED + 1 rows.
    """
    actor.require(Role.ADMIN, to="see the retention periods")
    now = policy_of(Tenant.objects.get(id=actor.tenant_id)).as_json()
    before = policy.before()
    old: dict[str, tuple[type[Any], str, str]] = {
        "runs": (Run, "ended_at", "ended_at"),
        "events": (Event, "received_at", "received_at"),
        "notifications": (Notification, "created_at", "created_at"),
        "ledger": (Command, "requested_at", "requested_at"),
        "sign_ins": (SignInRecord, "at", "id"),  # ids sort by time
    }
    counts: dict[str, str] = {}
    for name, days in policy.as_json().items():
        if days < now[name]:
            model, field, order = old[name]
            rows: QuerySet[Any] = model._default_manager.filter(tenant_id=actor.tenant_id)
            oldest = rows.filter(**{f"{field}__isnull": False}).order_by(order).values("pk")[: MOST_COUNTED + 1]
            counts[name] = _text(rows.filter(pk__in=oldest, **{f"{field}__lt": before[name]}).order_by().count())
    return counts


def _text(count: int) -> str:
    return f"{MOST_COUNTED:,}+" if count > MOST_COUNTED else f"{count:,}"
