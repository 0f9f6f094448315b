"""Periodic counting of steps for the map of a definition (docs/reference/screens.md#map)."""

import logging
import random
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError

from workflows.database_errors import is_statement_error
from workflows.models import Tenant
from workflows.projections.step_counts import forget_step_counts, record_step_counts
from workflows.tenancy import tenant_scope

logger = logging.getLogger(__name__)

# Part of the interval between two passes that one pass may use.
SHARE = 0.3


def steps_count() -> int:
    """Count the new steps and ends of the runs of all tenants. Return the number of runs that were counted.

    Each round counts one batch for each tenant that has uncounted runs, so a busy tenant does not delay the others. The
    pass ends when nothing is left, or when its time is over. The next pass continues.

    Errors: OperationalError or InterfaceError if the database is away. An error of one tenant is logged, and the other
    tenants continue.
    """
    stop_at = time.monotonic() + SHARE * settings.STEP_COUNT_INTERVAL_SECONDS
    due = list(Tenant.objects.values_list("id", flat=True))
    random.shuffle(due)  # if the time is over, other tenants are first in the next pass
    for tenant_id in due:
        _of_tenant(forget_step_counts, tenant_id)
    counted = 0
    while due:
        busy = []
        for tenant_id in due:
            if time.monotonic() > stop_at:
                return counted
            found = _of_tenant(record_step_counts, tenant_id)
            counted += found
            if found:
                busy.append(tenant_id)
        due = busy
    return counted


def _of_tenant(work: Callable[..., int], tenant_id: uuid.UUID) -> int:
    """Run one statement for a tenant. Return 0 after an error that concerns only this statement."""
    try:
        with tenant_scope(tenant_id):
            return work(tenant_id=tenant_id)
    except InterfaceError:
        raise
    except Exception as error:
        if isinstance(error, OperationalError) and not is_statement_error(error):
            raise
        logger.exception("the steps of tenant %s were not counted; they are counted in the next pass", tenant_id)
        return 0
