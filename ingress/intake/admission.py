"""Admission of events: closed tenants, and the limits of a tenant (docs/reference/administration.md#limits).

All entry points call it before they store events. An entry point whose sender cannot be asked to send again keeps the
event and tries again: the Celery task with a countdown, the stream with a pending entry, the outbox with its row.
"""

import uuid

from limits import RateLimitItemPerSecond

from workflows.errors import Conflict, PortalError
from workflows.models import Tenant
from workflows.services.rate_limits import rate_wait
from workflows.statuses import EventSource

# Storage is measured by a periodic task, so an earlier attempt has no better chance.
STORAGE_RETRY_SECONDS = 60


class TenantOverLimit(PortalError):
    """The tenant is over a limit, and nothing was stored. The sender must send again after `retry_after` seconds."""

    status = 429

    def __init__(self, message: str, *, code: str, status: int, retry_after: int, limit: int) -> None:
        super().__init__(message, code=code, details={"limit": limit, "retryAfter": retry_after})
        self.status = status
        self.retry_after = retry_after


def require_events_admitted(*, tenant_id: uuid.UUID, count: int, source: EventSource) -> None:
    """Refuse events that a tenant may not store now. Events of a person on a page have no rate.

    Errors: TenantOverLimit TENANT_STORAGE_LIMIT, TENANT_EVENT_RATE; Conflict TENANT_CLOSED.
    Cost: one statement, and one request to Redis if the tenant has a rate.
    """
    columns = ("is_active", "events_per_second_limit", "stored_bytes_limit", "usage")
    tenant = Tenant.objects.only(*columns).get(id=tenant_id)
    if not tenant.is_active:
        raise Conflict("the tenant is closed and takes no events; a superuser can open it", code="TENANT_CLOSED")
    stored, limit = tenant.usage.get("storedBytes", 0), tenant.stored_bytes_limit
    if limit is not None and stored >= limit:
        raise TenantOverLimit(
            f"the tenant stores {stored:,} bytes, and its limit is {limit:,}. Nothing was stored. Shorten the"
            " retention, or ask a superuser for a higher limit, then send again",
            code="TENANT_STORAGE_LIMIT",
            status=507,
            retry_after=STORAGE_RETRY_SECONDS,
            limit=limit,
        )
    rate = tenant.events_per_second_limit
    if rate is not None and count and source != EventSource.ADMIN:
        _require_rate(tenant_id, count, rate)


def _require_rate(tenant_id: uuid.UUID, count: int, rate: int) -> None:
    wait = rate_wait(RateLimitItemPerSecond(rate), "tenant-events", str(tenant_id), cost=count)
    if wait:
        batch = f", and a batch of at most {rate} events" if count > rate else ""
        raise TenantOverLimit(
            f"the tenant may send {rate} events per second. Nothing was stored. Send the request again later{batch}",
            code="TENANT_EVENT_RATE",
            status=429,
            retry_after=wait,
            limit=rate,
        )
