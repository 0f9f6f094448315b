"""New starts of a tenant: closed tenants, maintenance, and the limit of open runs.

While a tenant accepts no start, starts by events and schedules are held, as during the pause of a definition. Starts by
persons, API clients and replays are refused. Running work goes on, with its children and its queued starts.

Source: docs/reference/administration.md#maintenance, docs/reference/administration.md#limits
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet, Subquery
from django.utils import timezone

from workflows.dispatch_notification import notify_dispatcher_on_commit
from workflows.errors import Conflict
from workflows.models import EventDelivery, PortalMaintenance, Run, Tenant
from workflows.statuses import OPEN_RUN_STATUSES, DeliveryKind, DeliveryStatus
from workflows.tenancy import tenant_scope

# Reason of a held delivery. The wake after the end of a run finds the deliveries by this text.
AT_LIMIT = "the tenant has as many open runs as its limit allows; the start waits until a run ends"


class StartHeld(Conflict):
    """The tenant accepts no new start. A start by an event or a schedule is held, and any other start is refused.

    `is_long`: the hold ends by an action of a person, so frequent attempts are useless.
    """

    def __init__(self, message: str, *, code: str, is_long: bool = True) -> None:
        super().__init__(message, code=code)
        self.is_long = is_long


@dataclass(frozen=True)
class Maintenance:
    """Maintenance of one tenant, or of the whole portal."""

    since: datetime
    reason: str
    by_name: str
    is_portal: bool

    @property
    def text(self) -> str:
        what = "the portal" if self.is_portal else "the tenant"
        return f"{what} is in maintenance: {self.reason}"


def with_maintenance(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Add the maintenance of the portal to rows, without another statement. See `maintenance_of`."""
    portal = PortalMaintenance.objects.all()
    return rows.annotate(
        portal_since=Subquery(portal.values("since")[:1]),
        portal_reason=Subquery(portal.values("reason")[:1]),
        portal_by=Subquery(portal.values("by_name")[:1]),
    )


def maintenance_of(tenant: Tenant, row: Any = None) -> Maintenance | None:
    """Return the maintenance that applies to a tenant. The maintenance of the portal comes first.

    `row` is the row of `with_maintenance`, if it is not the tenant itself.
    """
    row = tenant if row is None else row
    if row.portal_since is not None:
        return Maintenance(row.portal_since, row.portal_reason, row.portal_by, is_portal=True)
    if tenant.maintenance_since is not None:
        reason, by_name = tenant.maintenance_reason, tenant.maintenance_by_name
        return Maintenance(tenant.maintenance_since, reason, by_name, is_portal=False)
    return None


def require_start_allowed(tenant_id: uuid.UUID, *, delivery: EventDelivery | None = None) -> None:
    """Refuse a new start. Call it in the transaction that inserts the run.

    With a limit, the row of the tenant is locked, so two starts cannot use the same slot. Free slots belong first to
    the starts that have waited longer for the limit. `delivery` is the start by an event or a schedule; any other start
    comes after all that wait.

    Errors: StartHeld TENANT_CLOSED, PORTAL_IN_MAINTENANCE, TENANT_IN_MAINTENANCE, TENANT_OPEN_RUNS_LIMIT.
    Cost: one statement without a limit, four with a limit.
    """
    tenant = with_maintenance(Tenant.objects.filter(id=tenant_id)).get()
    if not tenant.is_active:
        raise StartHeld("the tenant is closed and starts no runs; a superuser can open it", code="TENANT_CLOSED")
    maintenance = maintenance_of(tenant)
    if maintenance is not None:
        code = "PORTAL_IN_MAINTENANCE" if maintenance.is_portal else "TENANT_IN_MAINTENANCE"
        raise StartHeld(f"{maintenance.text}. New runs start after its end", code=code)
    if tenant.open_runs_limit is None:
        return
    limit = Tenant.objects.select_for_update(no_key=True).values_list("open_runs_limit", flat=True).get(id=tenant_id)
    if limit is None:
        return
    free = limit - open_runs(tenant_id, up_to=limit)
    if free <= 0 or _waiting_longer(tenant_id, delivery)[:free].count() >= free:
        raise StartHeld(AT_LIMIT, code="TENANT_OPEN_RUNS_LIMIT", is_long=False)


def open_runs(tenant_id: uuid.UUID, *, up_to: int) -> int:
    """Return the number of open runs of a tenant, at most `up_to`."""
    return Run.objects.filter(tenant_id=tenant_id, status__in=OPEN_RUN_STATUSES).order_by()[:up_to].count()


def _waiting_longer(tenant_id: uuid.UUID, delivery: EventDelivery | None) -> QuerySet[EventDelivery]:
    """Return the starts that have waited longer for the limit of open runs than this start."""
    held = _held(tenant_id).filter(reason=AT_LIMIT).order_by()
    if delivery is None or delivery.held_since is None:
        return held
    return held.filter(Q(held_since__lt=delivery.held_since) | Q(held_since=delivery.held_since, id__lt=delivery.id))


def starts_at_limit_wake(tenant_id: uuid.UUID) -> None:
    """Make the oldest starts that wait for the limit of open runs due. Call it after the commit that ended a run."""
    limit = Tenant.objects.filter(id=tenant_id).values_list("open_runs_limit", flat=True).get()
    held = _held(tenant_id).filter(reason=AT_LIMIT)
    if limit is not None:
        free = max(0, limit - open_runs(tenant_id, up_to=limit))
        held = held.filter(id__in=list(held.order_by("held_since", "id").values_list("id", flat=True)[:free]))
    elif not held.exists():
        return
    _make_due(tenant_id, held)


def held_starts_release(tenant_id: uuid.UUID) -> None:
    """Make all starts due that the tenant held. The dispatcher starts them in the order in which events were received.

    Starts of paused definitions stay held. Call it in the transaction in which the tenant is opened, its maintenance
    ends or its limit rises. After the commit, the starts follow that a dispatcher held during this transaction.
    """
    held = _held(tenant_id).exclude(definition__is_paused=True)

    def release_late() -> None:
        with tenant_scope(tenant_id):
            _make_due(tenant_id, held.all())

    _make_due(tenant_id, held)
    transaction.on_commit(release_late, robust=True)


def held_starts_recheck(tenant_id: uuid.UUID, delivery_ids: Collection[uuid.UUID]) -> None:
    """Make starts due that were held a moment ago, if the tenant accepts starts again. Call it after their commit.

    Otherwise a start that is held while its hold ends would wait for its next attempt. Cost: at least two statements.
    """
    starts_at_limit_wake(tenant_id)
    tenant = with_maintenance(Tenant.objects.filter(id=tenant_id)).get()
    if tenant.is_active and maintenance_of(tenant) is None:
        _make_due(tenant_id, _held(tenant_id).filter(id__in=delivery_ids).exclude(reason=AT_LIMIT))


def _held(tenant_id: uuid.UUID) -> QuerySet[EventDelivery]:
    return EventDelivery.objects.filter(
        tenant_id=tenant_id, status=DeliveryStatus.PENDING, kind=DeliveryKind.TRIGGER, held_since__isnull=False
    )


def _make_due(tenant_id: uuid.UUID, held: QuerySet[EventDelivery]) -> None:
    now = timezone.now()
    if held.filter(next_attempt_at__gt=now).update(next_attempt_at=now):
        notify_dispatcher_on_commit(tenant_id)
