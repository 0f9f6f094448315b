"""Runs that wait for a worker with their action (docs/reference/engine.md#actions).

At each attempt of the activity, a worker without the action writes a note about the run. The note expires at the time
KEPT after the last attempt. So no old note remains when a worker has the action.
"""

import uuid
from datetime import timedelta

from django.utils import timezone

from workflows.models import DataStoreEntry

# This namespace is reserved for the portal. No action can read or write a namespace that starts with "_".
NAMESPACE = "_missing_action"
# This time is longer than the pause between two attempts.
KEPT = timedelta(seconds=120)


def missing_action_note(*, tenant_id: uuid.UUID, run_id: uuid.UUID, action: str) -> None:
    """Write a note that the run waits for a worker with this action. `action` has the form `id@version`.

    Expired notes of the tenant are deleted. They belong to runs that ended before a worker had their action.
    """
    now = timezone.now()
    DataStoreEntry.objects.filter(tenant_id=tenant_id, namespace=NAMESPACE, expires_at__lte=now).delete()
    DataStoreEntry.objects.update_or_create(
        tenant_id=tenant_id,
        namespace=NAMESPACE,
        key=str(run_id),
        defaults={"value": action, "expires_at": now + KEPT},
    )


def missing_action_clear(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Delete the note about a run, because a worker has the action now."""
    DataStoreEntry.objects.filter(tenant_id=tenant_id, namespace=NAMESPACE, key=str(run_id)).delete()


def missing_action_of(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> str | None:
    """Return the action, as `id@version`, that was missing in the last attempts of this run.

    Return None if no action is missing.
    """
    entry = DataStoreEntry.objects.filter(
        tenant_id=tenant_id, namespace=NAMESPACE, key=str(run_id), expires_at__gt=timezone.now()
    ).first()
    return None if entry is None else str(entry.value)
