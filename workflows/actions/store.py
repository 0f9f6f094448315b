"""Actions `store.*`: small values of a tenant that outlive a run (docs/reference/engine.md#actions).

The actions work in the transaction of the action ledger. An action that writes first locks its row with an upsert, and
then reads the row. The upsert also works if the row does not exist yet. So several runs change the same key one after
the other. An expired entry counts as absent, even if its row still exists.
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

# A page of `store.list` ends at this size. The limit for the output of an action is larger.
MAX_PAGE_BYTES = 200_000
ENTRY_OVERHEAD_BYTES = 120
# Number of rows per query. A page often reaches its maximum size before it has `limit` entries.
ROWS_AT_ONCE = 100
# Larger whole numbers are not exact in an expression.
MAX_WHOLE = 2**53 - 1


def store_get(value: StoreGetInput, context: ActionContext) -> StoreGetOutput:
    """Return an entry, or `found: false`."""
    entry = _alive(_namespace(value, context), timezone.now()).filter(key=value.key).first()
    if entry is None:
        return StoreGetOutput(found=False)
    version = entry.row_version
    return StoreGetOutput(found=True, value=entry.value, version=version, revision=version, expires_at=entry.expires_at)


def store_set(value: StoreSetInput, context: ActionContext) -> StoreSetOutput:
    """Write an entry. If the input has no expiry, the written entry has no expiry either.

    Errors: ActionFailed STORE_CONDITION_FAILED if the condition of the input is not met. The author must act.
    """
    now = timezone.now()
    until = _until(value, now)
    entry, exists = _locked(value, context, now)
    if value.only_if_absent and exists:
        raise _condition_failed(value.key, "it exists", entry.row_version)
    _require_version(value, entry if exists else None)
    entry.value, entry.expires_at = value.value, until
    _save(entry)
    return StoreSetOutput(version=entry.row_version, revision=entry.row_version, created=not exists)


def store_delete(value: StoreDeleteInput, context: ActionContext) -> StoreDeleteOutput:
    """Delete an entry.

    Errors: ActionFailed STORE_CONDITION_FAILED if the entry has another version. The author must act.
    """
    entry = _namespace(value, context).select_for_update().filter(key=value.key).first()
    exists = entry is not None and not _has_expired(entry, timezone.now())
    _require_version(value, entry if exists else None)
    if entry is not None:
        entry.delete()
    return StoreDeleteOutput(deleted=exists)


def store_increment(value: StoreIncrementInput, context: ActionContext) -> StoreIncrementOutput:
    """Add to the number of an entry. A new entry starts at 0.

    Errors: ActionFailed if the value is not a number, or if the sum is too large. The author must act.
    """
    now = timezone.now()
    until = _until(value, now)
    entry, exists = _locked(value, context, now)
    before = entry.value if exists else 0
    if isinstance(before, bool) or not isinstance(before, int | float):
        raise ActionFailed(
            f"The value of {value.key!r} is not a number, so it cannot be incremented.",
            category=Category.VALIDATION,
            code="STORE_NOT_A_NUMBER",
        )
    entry.value = _sum(before, value.by)
    if not exists:
        entry.expires_at = until
    _save(entry)
    return StoreIncrementOutput(value=entry.value, version=entry.row_version, revision=entry.row_version)


def store_list(value: StoreListInput, context: ActionContext) -> StoreListOutput:
    """Return a page of entries in the order of the key index. A page ends at `limit` entries or at its maximum size."""
    rows = _alive(_namespace(value, context), timezone.now()).filter(key__startswith=value.prefix)
    entries: list[StoreListEntry] = []
    size = 0
    for row in _after(rows, value.cursor, value.limit + 1):
        size += json_size([row.key, row.value]) + ENTRY_OVERHEAD_BYTES
        if len(entries) == value.limit or (entries and size > MAX_PAGE_BYTES):
            return StoreListOutput(entries=entries, next_cursor=entries[-1].key)
        entries.append(
            StoreListEntry(
                key=row.key,
                value=row.value,
                version=row.row_version,
                revision=row.row_version,
                expires_at=row.expires_at,
            )
        )
    return StoreListOutput(entries=entries)


def _after(rows: QuerySet[DataStoreEntry], key: str | None, count: int) -> Iterator[DataStoreEntry]:
    """Yield the first `count` rows after this key, in slices.

    `iterator` would read all rows at once, because the portal uses no server-side cursors.
    """
    while count > 0:
        wanted = min(ROWS_AT_ONCE, count)
        found = list((rows if key is None else rows.filter(key__gt=key)).order_by("key")[:wanted])
        yield from found
        if len(found) < wanted:
            return
        count -= wanted
        key = found[-1].key


# -- Rows --------------------------------------------------------------------------------------------------------------


def _namespace(value: StoreInput, context: ActionContext) -> QuerySet[DataStoreEntry]:
    return DataStoreEntry.objects.filter(tenant_id=context.tenant_id, namespace=value.namespace)


def _alive(rows: QuerySet[DataStoreEntry], now: datetime) -> QuerySet[DataStoreEntry]:
    return rows.filter(Q(expires_at=None) | Q(expires_at__gt=now))


def _has_expired(entry: DataStoreEntry, now: datetime) -> bool:
    return entry.expires_at is not None and entry.expires_at <= now


def _locked(
    value: StoreSetInput | StoreIncrementInput, context: ActionContext, now: datetime
) -> tuple[DataStoreEntry, bool]:
    """Return the entry, and True if it existed before. The row stays locked until the transaction ends.

    If the action fails, the rollback removes a new row.
    """
    fresh = DataStoreEntry(tenant_id=context.tenant_id, namespace=value.namespace, key=value.key, row_version=0)
    DataStoreEntry.objects.bulk_create(
        [fresh],
        update_conflicts=True,
        unique_fields=["tenant", "namespace", "key"],
        update_fields=["updated_at"],  # this update only waits for the row and locks it
    )
    entry = _namespace(value, context).get(key=value.key)
    return entry, entry.id != fresh.id and not _has_expired(entry, now)


def _until(value: Expiring, now: datetime) -> datetime | None:
    if value.ttl_seconds is not None:
        return now + timedelta(seconds=value.ttl_seconds)
    if value.expires_at is not None and value.expires_at <= now:
        raise ActionFailed(
            f"expiresAt is in the past: {value.expires_at.isoformat()}. Use a later time, or ttlSeconds.",
            category=Category.VALIDATION,
            code="STORE_EXPIRY_PASSED",
        )
    return value.expires_at


def _save(entry: DataStoreEntry) -> None:
    # The version number increases even after an expiry. So an old version number never matches again.
    entry.row_version += 1
    entry.save(update_fields=["value", "expires_at", "row_version", "updated_at"])


def _require_version(value: StoreSetInput | StoreDeleteInput, entry: DataStoreEntry | None) -> None:
    found = None if entry is None else entry.row_version
    if value.expected_version is not None and value.expected_version != found:
        have = "does not exist" if found is None else f"has version {found}"
        raise _condition_failed(value.key, f"it {have}, but version {value.expected_version} was expected", found)
    if value.if_revision is not None and value.if_revision != (found or 0):
        have = "does not exist" if found is None else f"has revision {found}"
        wanted = "no entry" if value.if_revision == 0 else f"revision {value.if_revision}"
        raise _condition_failed(value.key, f"it {have}, but {wanted} was expected", found)


def _condition_failed(key: str, why: str, version: int | None) -> ActionFailed:
    # ValidationError is the only category that the default retry policy does not repeat. A repetition with the same
    # input could not succeed, because an old version never returns.
    return ActionFailed(
        f"The entry {key!r} was not changed: {why}. Read the entry again before you write it.",
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
            f"The sum is too large. Whole numbers up to {MAX_WHOLE} are exact. The entry was not changed.",
            category=Category.VALIDATION,
            code="STORE_NUMBER_TOO_LARGE",
        )
    return after
