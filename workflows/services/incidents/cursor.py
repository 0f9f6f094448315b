"""Lock of the incidents of one tenant, and their numbers.

The growth of incidents, merges and splits hold this lock until their transaction ends. So they take turns, and a number
is used once.
"""

import uuid

from workflows.models import IncidentCursor


def cursor_lock(*, tenant_id: uuid.UUID, wait: bool = True) -> IncidentCursor | None:
    """Return the locked cursor of the tenant. Return None without `wait` if another transaction holds the lock.

    Call it inside a transaction.
    """
    locked = IncidentCursor.objects.select_for_update(skip_locked=not wait).filter(tenant_id=tenant_id)
    cursor = locked.first()
    if cursor is None:
        IncidentCursor.objects.bulk_create([IncidentCursor(tenant_id=tenant_id)], ignore_conflicts=True)
        cursor = locked.first()
    return cursor


def next_number(cursor: IncidentCursor) -> int:
    """Return the number for a new incident. The caller saves the cursor."""
    cursor.last_number += 1
    return cursor.last_number
