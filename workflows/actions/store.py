"""`store.*`: small values of a tenant that outlive a run (docs/reference/engine.md#actions). They work in the ledger's transaction.

A writer locks its one row first, with an upsert that holds it whether it existed or not, and looks at it then: what
several runs do to one key happens one after the other. An entry whose time has passed is absent, though its row is there.
"""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from workflows.actions.registry import ActionContext, ActionFailed
from workflows.actions.store_models import (
    Expiring,
    StoreDeleteInput,
    StoreDeleteOutput,
    StoreGetInput,
    StoreGetOutput,
    StoreIncrementInput,
    StoreIncrementOutput,
    StoreInput,
    StoreListEntry,
    StoreListInput,
    StoreListOutput,
    StoreSetInput,
    StoreSetOutput,
)
from workflows.engine.errors import Category
from workflows.engine.sizes import json_size
from workflows.models import DataStoreEntry

# A page of `store.list` ends here, under what an action may put out.
MAX_PAGE_BYTES = 200_000
ENTRY_OVERHEAD_BYTES = 120
# A page often ends by its size, long before its limit: so many entries are held at once.
ROWS_AT_ONCE = 100
# Whole numbers beyond it are not exact in an expression.
MAX_WHOLE = 2**53 - 1


def store_get(value: StoreGetInput, context: ActionContext) -> StoreGetOutput:
    entry = _alive(_namespace(value, context), timezone.now()).filter(key=value.key).first()
    if entry is None:
        return StoreGetOutput(found=False)
    return StoreGetOutput(found=True, value=entry.value, version=entry.row_version, expires_at=entry.expires_at)


def store_set(value: StoreSetInput, context: ActionContext) -> StoreSetOutput:
    """Without an expiry of its own the entry has none afterwards, whatever it had before."""
    now = timezone.now()
    until = _until(value, now)
    entry, exists = _held(value, context, now)
    if value.only_if_absent and exists:
        raise _condition_failed(value.key, "it exists", entry.row_version)
    _require_version(value, entry if exists else None)
    entry.value, entry.expires_at = value.value, until
    _save(entry)
    return StoreSetOutput(version=entry.row_version, created=not exists)


def store_delete(value: StoreDeleteInput, context: ActionContext) -> StoreDeleteOutput:
    entry = _namespace(value, context).select_for_update().filter(key=value.key).first()
    exists = entry is not None and not _has_expired(entry, timezone.now())
    _require_version(value, entry if exists else None)
    if entry is not None:
        entry.delete()
    return StoreDeleteOutput(deleted=exists)


def store_increment(value: StoreIncrementInput, context: ActionContext) -> StoreIncrementOutput:
    now = timezone.now()
    until = _until(value, now)
    entry, exists = _held(value, context, now)
    before = entry.value if exists else 0
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise ActionFailed(
            f"the value of {value.key!r} is no number, so it cannot be incremented",
            category=Category.VALIDATION,
            code="STORE_NOT_A_NUMBER",
        )
    entry.value = _sum(before, value.by)
    if not exists:
        entry.expires_at = until
    _save(entry)
    return StoreIncrementOutput(value=entry.value, version=entry.row_version)


def store_list(value: StoreListInput, context: ActionContext) -> StoreListOutput:
    """In the order in which the database's index has the keys; a page ends at `limit`, or earlier by its size."""
    rows = _alive(_namespace(value, context), timezone.now()).filter(key__startswith=value.prefix)
    entries: list[StoreListEntry] = []
    size = 0
    for row in _after(rows, value.cursor, value.limit + 1):
        size += json_size([row.key, row.value]) + ENTRY_OVERHEAD_BYTES
        if len(entries) == value.limit or (entries and size > MAX_PAGE_BYTES):
            return StoreListOutput(entries=entries, next_cursor=entries[-1].key)
        entries.append(StoreListEntry(key=row.key, value=row.value, version=row.row_version, expires_at=row.expires_at))
    return StoreListOutput(entries=entries)


def _after(rows: QuerySet[DataStoreEntry], key: str | None, count: int) -> Iterator[DataStoreEntry]:
    """The first `count` behind this key, in slices. The portal keeps no cursors on the server, so `iterator` reads all."""
    while count > 0:
        asked = min(ROWS_AT_ONCE, count)
        found = list((rows if key is None else rows.filter(key__gt=key)).order_by("key")[:asked])
        yield from found
        if len(found) < asked:
            return
        count -= asked
        key = found[-1].key


# -- Rows --------------------------------------------------------------------------------------------------------------


def _namespace(value: StoreInput, context: ActionContext) -> QuerySet[DataStoreEntry]:
    return DataStoreEntry.objects.filter(tenant_id=context.tenant_id, namespace=value.namespace)


def _alive(rows: QuerySet[DataStoreEntry], now: datetime) -> QuerySet[DataStoreEntry]:
    return rows.filter(Q(expires_at=None) | Q(expires_at__gt=now))


def _has_expired(entry: DataStoreEntry, now: datetime) -> bool:
    return entry.expires_at is not None and entry.expires_at <= now


def _held(
    value: StoreSetInput | StoreIncrementInput, context: ActionContext, now: datetime
) -> tuple[DataStoreEntry, bool]:
    """The entry, locked until the transaction ends, and whether it was there. A failure rolls a new one back."""
    fresh = DataStoreEntry(tenant_id=context.tenant_id, namespace=value.namespace, key=value.key, row_version=0)
    DataStoreEntry.objects.bulk_create(
        [fresh],
        update_conflicts=True,
        unique_fields=["tenant", "namespace", "key"],
        update_fields=["updated_at"],  # writes nothing that matters; it waits for the row and locks it
    )
    entry = _namespace(value, context).get(key=value.key)
    return entry, entry.id != fresh.id and not _has_expired(entry, now)


def _until(value: Expiring, now: datetime) -> datetime | None:
    if value.ttl_seconds is not None:
        return now + timedelta(seconds=value.ttl_seconds)
    if value.expires_at is not None and value.expires_at <= now:
        raise ActionFailed(
            f"expiresAt has passed: {value.expires_at.isoformat()}",
            category=Category.VALIDATION,
            code="STORE_EXPIRY_PASSED",
        )
    return value.expires_at


def _save(entry: DataStoreEntry) -> None:
    # Counted on over an expiry, so that a version from before it is never met again.
    entry.row_version += 1
    entry.save(update_fields=["value", "expires_at", "row_version", "updated_at"])


def _require_version(value: StoreSetInput | StoreDeleteInput, entry: DataStoreEntry | None) -> None:
    found = None if entry is None else entry.row_version
    if value.expected_version is not None and value.expected_version != found:
        have = "does not exist" if found is None else f"has version {found}"
        raise _condition_failed(value.key, f"it {have}, not version {value.expected_version}", found)


def _condition_failed(key: str, why: str, version: int | None) -> ActionFailed:
    # ValidationError, though the input is well-formed: the one category of which a default retry knows that the same
    # input meets the same answer. A version that has passed never comes back.
    return ActionFailed(
        f"{key!r} was not changed: {why}",
        category=Category.VALIDATION,
        code="STORE_CONDITION_FAILED",
        details={"version": version},
    )


def _sum(before: int | float, by: int | float) -> int | float:
    try:
        after = before + by
        kept = math.isfinite(after) and (isinstance(after, float) or abs(after) <= MAX_WHOLE)
    except OverflowError:
        kept = False
    if not kept:
        raise ActionFailed(
            "the sum is beyond the numbers that are kept exactly",
            category=Category.VALIDATION,
            code="STORE_NUMBER_TOO_LARGE",
        )
    return after
