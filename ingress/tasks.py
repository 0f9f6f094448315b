"""Celery tasks of the ingress: an entry point for events, the dispatcher of a tenant, and the sweep.

The work of the dispatcher and the sweep is stored in the database. If one of their messages is lost or repeated,
nothing changes.
"""

import logging
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import shared_task
from django.conf import settings
from django.db import DatabaseError

from ingress.dispatch.buffers import events_end_buffer_times
from ingress.dispatch.work import Worked, events_work, tenants_with_work
from ingress.intake.admission import TenantOverLimit
from ingress.intake.envelope import event_invalid
from ingress.intake.receive import events_receive
from workflows.database_errors import is_data_error
from workflows.dispatch_notification import WORK_EVENTS, notification_received, notify_dispatcher
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid, NotFound, PortalError
from workflows.selectors.tenants_of_slugs import tenants_of_slugs
from workflows.services.bulk.work import bulk_sweep
from workflows.services.runs.unstarted import sweep_unstarted_runs
from workflows.statuses import EventSource
from workflows.tenancy import system_scope

logger = logging.getLogger(__name__)

SWEEP_BUDGET_SECONDS = settings.SWEEP_INTERVAL_SECONDS / 2  # the rest is left for the dispatcher


@shared_task(
    name="ingress.consume_event",
    bind=True,
    # An error that the sender did not cause, such as a database outage or a bug, must not lose the event.
    autoretry_for=(Exception,),
    dont_autoretry_for=(TypeError, PortalError),
    retry_backoff=1,
    retry_backoff_max=60,
    max_retries=None,
)
def consume_event(self: Any, envelope: dict[str, Any]) -> dict[str, Any]:
    """Receive one event from a Celery producer. The event has the JSON format of the REST entry point.

    `tenant` is the tenant's slug.

    If the tenant is over a limit, the task tries again after the time that the limit says.

    Errors: PortalError or TypeError. Then nothing is stored, or the event is kept as rejected. The sender must act.
    """
    if not isinstance(envelope, dict):
        raise TypeError("ingress.consume_event takes one argument, a JSON object: {tenant, event_type, payload, ...}")
    refused = storable_problem(envelope)
    if refused is not None:  # check before a retry: its message would lose the parser's marks
        raise event_invalid([{"path": refused[0], "message": refused[1]}])
    value = dict(envelope)
    slug = value.pop("tenant", None)
    tenant = tenants_of_slugs([slug]).get(slug) if isinstance(slug, str) else None
    if tenant is None:
        raise NotFound(
            f"There is no tenant {slug!r}. The field `tenant` must contain the slug of a tenant.",
            code="TENANT_NOT_FOUND",
        )
    try:
        (result,) = events_receive(tenant_id=tenant.id, values=[value], source=EventSource.CELERY, sender="celery")
    except TenantOverLimit as error:
        raise self.retry(exc=error, countdown=error.retry_after) from error
    except DatabaseError as error:
        if is_data_error(error):  # every retry would fail in the same way
            raise InputInvalid(f"PostgreSQL refuses to store the event: {error}", code="EVENT_INVALID") from error
        raise
    if isinstance(result, PortalError):
        raise result
    return {"id": str(result.event.id), "event_id": result.event.event_id, "duplicate": result.is_duplicate}


@shared_task(name=WORK_EVENTS)
def work_events(tenant_id: str) -> None:
    """Do the due work of a tenant for one time slice. Send a new notification if work is left."""
    notification_received(tenant_id)  # called before the search; work that is committed later sends a new notification
    if events_work(tenant_id=uuid.UUID(tenant_id)).has_more:
        notify_dispatcher(tenant_id)


@shared_task(name="ingress.sweep_events")
def sweep_events() -> dict[str, int]:
    """Find work that a crash or a broker outage left.

    The work can be events, deliveries, expired buffer times, unstarted runs and bulk jobs.

    The sweep sends a queue notification for each tenant with due work. But if an earlier message was lost, the
    notification may be suppressed. Therefore the sweep also does due work itself for a short time, one slice per
    tenant. It begins with the tenant that has waited longest.
    """
    with system_scope():
        return _sweep()


def _sweep() -> dict[str, int]:
    stop_at = time.monotonic() + SWEEP_BUDGET_SECONDS
    counts = {
        "settled": _run_part("buffers", partial(events_end_buffer_times, stop_at)),
        "launched": _run_part("launches", sweep_unstarted_runs),
        "bulk": _run_part("bulk jobs", bulk_sweep),
        **_dispatch_all_tenants(time.monotonic() + SWEEP_BUDGET_SECONDS),
    }
    if any(counts.values()):
        logger.info("sweep: %s", counts)
    return counts


def _dispatch_all_tenants(stop_at: float) -> dict[str, int]:
    total = Worked()
    tenants = tenants_with_work()
    for tenant_id in tenants:
        notify_dispatcher(tenant_id)
    while tenants and time.monotonic() < stop_at:
        tenant_id = tenants.pop(0)
        try:
            worked = events_work(tenant_id=tenant_id)
        except Exception:
            logger.exception("the sweep of tenant %s failed", tenant_id)
            continue
        total.relayed += worked.relayed
        total.routed += worked.routed
        total.delivered += worked.delivered
        if worked.has_more:
            tenants.append(tenant_id)
    return {"relayed": total.relayed, "routed": total.routed, "delivered": total.delivered}


def _run_part(name: str, work: Callable[[], int]) -> int:
    """Run one part of the sweep. Log its errors and continue with the other parts."""
    try:
        return work()
    except Exception:
        logger.exception("the sweep of %s failed", name)
        return 0
