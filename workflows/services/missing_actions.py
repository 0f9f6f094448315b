"""Runs that wait for a worker with their action (docs/reference/engine.md#actions).

A worker without the action notes the run at each attempt of the activity. A note expires by itself soon after the last
attempt. So it never outlives its cause by more than KEPT.
"""

import uuid
from datetime import timedelta

from django.utils import timezone

from workflows.models import DataStoreEntry

# Reserved for the portal: no action can read or write a namespace that starts with "_".
NAMESPACE = "_missing_action"
# Longer than the pause between two attempts.
KEPT = timedelta(seconds=120)


def missing_action_note(*, tenant_id: uuid.UUID, run_id: uuid.UUID, action: str) -> None:
    """Note that a run waits for this action, `id@version`."""
    DataStoreEntry.objects.update_or_create(
        tenant_id=tenant_id,
        namespace=NAMESPACE,
        key=str(run_id),
        defaults={"value": action, "expires_at": timezone.now() + KEPT},
    )


def missing_action_clear(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> None:
    """Delete the note of a run, because a worker has its action now."""
    DataStoreEntry.objects.filter(tenant_id=tenant_id, namespace=NAMESPACE, key=str(run_id)).delete()


def missing_action_of(*, tenant_id: uuid.UUID, run_id: uuid.UUID) -> str | None:
    """Return the action, `id@version`, that no worker of this run's last attempts had; None if there is none."""
    entry = DataStoreEntry.objects.filter(
        tenant_id=tenant_id, namespace=NAMESPACE, key=str(run_id), expires_at__gt=timezone.now()
    ).first()
    return None if entry is None else str(entry.value)


def missing_actions() -> list[str]:
    """Return the missing actions of the rows in scope, at most 100 notes."""
    found = DataStoreEntry.objects.filter(namespace=NAMESPACE, expires_at__gt=timezone.now())[:100]
    return sorted({str(entry.value) for entry in found})
