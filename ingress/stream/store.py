"""Entries of the event stream into the store: one verdict for each. Reaches the database, and no Redis."""

import logging
import uuid
from collections.abc import Sequence
from typing import Any

from django.db import InterfaceError, OperationalError

from ingress.intake.receive import Receipt, events_receive
from ingress.stream.entry import event_of_entry, tenant_not_found
from ingress.stream.group import Entry
from workflows.database_errors import is_of_the_data
from workflows.errors import InputInvalid, PortalError
from workflows.models import Tenant
from workflows.statuses import EventSource

logger = logging.getLogger(__name__)

# SQLSTATE of a write on a standby: where a failover has left our connection.
READ_ONLY = "25006"

# A receipt: it is stored. A PortalError: it can never be. Any other exception: a bug, it may be tried again.
Verdict = Receipt | Exception


def stream_events_receive(*, stream: str, entries: Sequence[Entry]) -> dict[str, Verdict]:
    """The verdict on each entry, by its id; what is committed is committed when this returns.

    Idempotency: by event id; the same entries again give receipts of duplicates.
    Errors: one of django.db of which `is_outage` is true: the database is away, and nothing is said of any entry.
    Cost: a query for the tenants, a call of `events_receive` for each tenant.
    """
    verdicts: dict[str, Verdict] = {}
    by_tenant: dict[str, dict[str, Any]] = {}
    for entry in entries:
        try:
            event = event_of_entry(stream=stream, entry_id=entry.id, fields=entry.fields)
        except PortalError as error:
            verdicts[entry.id] = error
        except Exception as error:
            logger.exception("entry %s could not be read", entry.id)
            verdicts[entry.id] = error
        else:
            by_tenant.setdefault(event.tenant, {})[entry.id] = event.value
    tenants = dict(Tenant.objects.filter(slug__in=by_tenant, is_active=True).values_list("slug", "id"))
    for slug, values in by_tenant.items():
        if slug in tenants:
            verdicts |= _receive(tenants[slug], f"stream {stream}", values)
        else:
            verdicts |= dict.fromkeys(values, tenant_not_found(slug))
    return verdicts


def _receive(tenant_id: uuid.UUID, sender: str, values: dict[str, Any]) -> dict[str, Verdict]:
    try:
        receipts = events_receive(
            tenant_id=tenant_id, values=list(values.values()), source=EventSource.STREAM, sender=sender
        )
    except Exception as error:
        if is_outage(error):
            raise
        if len(values) == 1:
            return dict.fromkeys(values, _verdict_on(error, next(iter(values))))
        logger.warning("a batch of %d entries failed (%r); each of them on its own", len(values), error)
        return {
            entry_id: verdict
            for name, value in values.items()
            for entry_id, verdict in _receive(tenant_id, sender, {name: value}).items()
        }
    return dict(zip(values, receipts, strict=True))


def _verdict_on(error: Exception, entry_id: str) -> Exception:
    if is_of_the_data(error):  # trying again would never end
        return InputInvalid(f"the event cannot be stored: {error}", code="EVENT_INVALID")
    logger.error("entry %s could not be stored", entry_id, exc_info=error)
    return error


def is_outage(error: Exception) -> bool:
    """True when the database is away, or has become one that only reads: nobody's entry is to blame."""
    if getattr(error.__cause__, "sqlstate", None) == READ_ONLY:
        return True
    return isinstance(error, OperationalError | InterfaceError) and not is_of_the_data(error)
