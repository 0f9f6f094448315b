"""Measurement of what the limits of tenants limit, and the warnings (docs/reference/administration.md#limits).

A periodic task measures. An exact count of bytes on each write would make every write slower. Stored bytes are an
estimate: a sample of each table gives the size of the rows of each tenant, and the size of the table with its indexes
gives the space that the indexes add.
"""

import logging
import math
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.apps import apps
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from workflows.models import Event, Notification, Tenant, TenantMembership
from workflows.services.tenants import limits_of
from workflows.statuses import Role
from workflows.tenant_starts import open_runs

logger = logging.getLogger(__name__)

# A table with more blocks is sampled, so that a measurement reads at most about this many blocks of 8 KiB per table.
SAMPLED_BLOCKS = 2_000
COUNTED_RUNS = 1_000_000
RATE_WINDOW = timedelta(seconds=60)
WARN_AT, FULL_AT = 80, 100
NAMES = {"events_per_second": "events per second", "open_runs": "open runs", "stored_bytes": "stored bytes"}
KEYS = {"events_per_second": "eventsPerSecond", "open_runs": "openRuns", "stored_bytes": "storedBytes"}


@dataclass(frozen=True)
class Use:
    """Use of one limit. `used` is None before the first measurement. `limit` is None without a limit."""

    name: str
    used: float | None
    limit: int | None

    @property
    def percent(self) -> int | None:
        if self.used is None or self.limit is None:
            return None
        return math.floor(100 * self.used / self.limit)

    @property
    def level(self) -> int:
        """Return 0, 80 (a warning) or 100 (the limit is reached)."""
        percent = self.percent or 0
        return FULL_AT if percent >= FULL_AT else WARN_AT if percent >= WARN_AT else 0

    @property
    def text(self) -> str:
        return f"{NAMES[self.name]} are at {self.percent} % of the limit of {self.limit:,}"


def uses_of(tenant: Tenant) -> list[Use]:
    """Return the use of each limit as of the last measurement. Cost: no statement."""
    return [Use(name, tenant.usage.get(KEYS[name]), limit) for name, limit in limits_of(tenant).as_json().items()]


def tenants_measure() -> int:
    """Measure all tenants and notify administrators at 80 % and 100 % of a limit. Return the number of tenants.

    Call it with the scope of all tenants. If one tenant cannot be measured, the others are still measured.
    """
    stored = stored_bytes()
    measured = 0
    for tenant in Tenant.objects.order_by("id"):
        try:
            tenant.usage = {
                "storedBytes": stored.get(tenant.id, 0),
                "openRuns": open_runs(tenant.id, up_to=COUNTED_RUNS),
                "eventsPerSecond": _events_per_second(tenant.id),
            }
            tenant.usage_at = timezone.now()
            tenant.save(update_fields=["usage", "usage_at"])
            _warn(tenant)
            measured += 1
        except Exception:
            logger.exception("the use of tenant %s was not measured; it is measured again later", tenant.slug)
    return measured


def stored_bytes() -> dict[uuid.UUID, int]:
    """Return the estimated bytes of each tenant in all tables with their indexes."""
    totals: dict[uuid.UUID, float] = defaultdict(float)
    for table in _tenant_tables():
        for tenant_id, size in _sizes(table):
            totals[tenant_id] += size
    return {tenant_id: round(size) for tenant_id, size in totals.items()}


def _tenant_tables() -> list[str]:
    models = [model for model in apps.get_models() if any(field.name == "tenant" for field in model._meta.fields)]
    return sorted({model._meta.db_table for model in models})


def _sizes(table: str) -> Iterator[tuple[uuid.UUID, float]]:
    with connection.cursor() as cursor:
        name = connection.ops.quote_name(table)
        cursor.execute(
            "SELECT pg_total_relation_size(%(table)s::regclass), pg_table_size(%(table)s::regclass),"
            " pg_relation_size(%(table)s::regclass) / 8192",
            {"table": table},
        )
        total, without_indexes, blocks = cursor.fetchone()
        share = min(100.0, 100.0 * SAMPLED_BLOCKS / max(1, blocks))
        sample = "" if share == 100 else f" TABLESAMPLE SYSTEM ({share:.6f})"
        statement = f"SELECT tenant_id, sum(pg_column_size(kept.*)) FROM {name} AS kept{sample}"  # noqa: S608
        cursor.execute(f"{statement} GROUP BY tenant_id")
        rows: list[Any] = cursor.fetchall()
    if not rows:
        return
    in_sample = float(sum(size for _, size in rows))
    # Deleted rows leave free space in the files of the table, and new rows use it. It belongs to no tenant.
    used = min(float(total), in_sample * 100 / share * float(total) / float(without_indexes))
    for tenant_id, size in rows:
        yield tenant_id, used * float(size) / in_sample


def _events_per_second(tenant_id: uuid.UUID) -> float:
    since = timezone.now() - RATE_WINDOW
    number = Event.objects.filter(tenant_id=tenant_id, received_at__gte=since).order_by().count()
    return round(number / RATE_WINDOW.total_seconds(), 2)


def _warn(tenant: Tenant) -> None:
    """Write a notification for each administrator: at most one for each limit, level and day."""
    today = f"{timezone.now():%Y-%m-%d}"
    reached = [use for use in uses_of(tenant) if use.level]
    if not reached:
        return
    admins = list(TenantMembership.objects.filter(tenant=tenant, role=Role.ADMIN).values_list("user_id", flat=True))
    Notification.objects.bulk_create(
        (
            Notification(
                tenant_id=tenant.id,
                user_id=user_id,
                idempotency_key=f"limit:{use.name}:{use.level}:{today}",
                severity="error" if use.level == FULL_AT else "warning",
                title=f"{use.text[0].upper()}{use.text[1:]}",
                body="At the limit, new requests are refused or held. A superuser can change the limit.",
                link=reverse("admin:workflows_tenant_change", args=[tenant.id]),
            )
            for use in reached
            for user_id in admins
        ),
        ignore_conflicts=True,
    )
