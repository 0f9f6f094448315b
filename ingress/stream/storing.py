"""Entries of the Redis stream become events. This module uses the database, and not Redis' stream.

Source: docs/reference/events.md#entry-points
"""

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from ingress.intake.admission import TenantOverLimit
from ingress.intake.receive import Receipt, events_receive
from ingress.stream.entry import event_of_entry, tenant_not_found
from ingress.stream.group import Entry
from ingress.stream.outage import is_database_outage
from workflows.database_errors import is_data_error
from workflows.errors import InputInvalid, PortalError
from workflows.selectors.tenants_of_slugs import tenants_of_slugs
from workflows.statuses import EventSource

logger = logging.getLogger(__name__)

# Receipt: the event is stored. TenantOverLimit: the entry is retried later. Another PortalError: the entry can never
# become an event. Any other exception is a bug, and the entry is retried later.
EntryResult = Receipt | Exception


def stream_events_receive(*, stream: str, entries: Sequence[Entry]) -> dict[str, EntryResult]:
    """Read entries and store them as events. Return the result of each entry by its id. Receipts are committed.

    Idempotency: by event id; a repeat returns receipts of duplicates.
    Errors: an error of django.db for which `is_database_outage` returns True. Then no entry has a result.
    Cost: one query for the tenants, and one call of `events_receive` for each tenant.
    """
    results: dict[str, EntryResult] = {}
    by_tenant: dict[str, dict[str, Any]] = {}
    for entry in entries:
        try:
            event = event_of_entry(stream=stream, entry_id=entry.id, fields=entry.fields)
        except PortalError as error:
            results[entry.id] = error
        except Exception as error:
            logger.exception("entry %s could not be read", entry.id)
            results[entry.id] = error
        else:
            by_tenant.setdefault(event.tenant, {})[entry.id] = event.value
    tenants = tenants_of_slugs(by_tenant)
    for slug, values in by_tenant.items():
        if slug in tenants:
            results |= _receive_of_tenant(tenants[slug].id, f"stream {stream}", values)
        else:
            results |= dict.fromkeys(values, tenant_not_found(slug))
    return results


def _receive_of_tenant(tenant_id: uuid.UUID, sender: str, values: dict[str, Any]) -> dict[str, EntryResult]:
    """Store the events of one tenant. If a batch fails, store each event by itself.

    If the tenant is over a limit, the result of this event and of all later events is TenantOverLimit.
    """
    try:
        receipts = events_receive(
            tenant_id=tenant_id, values=list(values.values()), source=EventSource.STREAM, sender=sender
        )
    except Exception as error:
        if is_database_outage(error):
            raise
        if len(values) == 1:
            return dict.fromkeys(values, _entry_error(error, next(iter(values))))
        if not isinstance(error, PortalError):
            logger.warning("a batch of %d entries failed (%r); each entry is tried by itself", len(values), error)
        results: dict[str, EntryResult] = {}
        for entry_id, value in values.items():
            results |= _receive_of_tenant(tenant_id, sender, {entry_id: value})
            if isinstance(results[entry_id], TenantOverLimit):
                return {**dict.fromkeys(values, results[entry_id]), **results}
        return results
    return dict(zip(values, receipts, strict=True))


def _entry_error(error: Exception, entry_id: str) -> Exception:
    if isinstance(error, PortalError):
        return error
    if is_data_error(error):  # every retry would fail in the same way
        return InputInvalid(f"PostgreSQL refuses to store the event: {error}", code="EVENT_INVALID")
    logger.error("entry %s could not be stored", entry_id, exc_info=error)
    return error
