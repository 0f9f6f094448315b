"""The invocation ledger: one effect per (tenant, action, version, idempotency key), whatever is retried or killed.

`claim` answers one of three: execute, here is the stored output, or nobody knows what became of an earlier execution. A
key that somebody else holds, alive, is waited for: the activity fails with a short delay and Temporal looks again.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from workflows.actions.registry import Action
from workflows.models import ActionInvocation
from workflows.statuses import InvocationStatus

LEASE = timedelta(seconds=60)


class KeyLost(Exception):
    """Another execution has taken the key over; this one's outcome is not stored, and its transaction rolls back."""


class KeyHeld(Exception):
    """Another execution with this key is alive. Look again in `seconds`."""

    def __init__(self, owner: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the idempotency key is held by {owner}")


@dataclass(frozen=True)
class Owner:
    """The activity execution that asks: `attempt` counts Temporal's attempts of the same activity."""

    activity: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.activity}#{self.attempt}"

    def has_outlived(self, other: str) -> bool:
        """Temporal starts the next attempt of an activity only when the one before is lost."""
        activity, _, attempt = other.rpartition("#")
        return activity == self.activity and attempt.isdecimal() and int(attempt) < self.attempt


@dataclass(frozen=True)
class Claim:
    """`execute` False with an invocation SUCCEEDED: take its output. False with one STARTED: its outcome is unknown."""

    invocation: ActionInvocation
    execute: bool


def invocation_claim(
    action: Action,
    *,
    tenant_id: uuid.UUID,
    run_id: uuid.UUID,
    step_path: str,
    iteration: str,
    key: str,
    value: Any,
    owner: Owner,
) -> Claim:
    """Call it inside a transaction: the row stays locked until that ends.

    Errors: KeyHeld.
    """
    now = timezone.now()
    lease = now + LEASE
    fresh = ActionInvocation(
        tenant_id=tenant_id,
        run_id=run_id,
        step_path=step_path,
        iteration=iteration,
        action_id=action.id,
        action_version=action.version,
        idempotency_key=key,
        input=value,
        owner=str(owner),
        lease_expires_at=lease,
        started_at=now,
    )
    ActionInvocation.objects.bulk_create([fresh], ignore_conflicts=True)
    found = ActionInvocation.objects.select_for_update(no_key=True).get(
        tenant_id=tenant_id, action_id=action.id, action_version=action.version, idempotency_key=key
    )
    if found.id == fresh.id:
        return Claim(found, execute=True)
    if found.status == InvocationStatus.SUCCEEDED:
        return Claim(found, execute=False)
    if found.status == InvocationStatus.STARTED:
        lost = owner.has_outlived(found.owner) or found.lease_expires_at is None or found.lease_expires_at <= now
        if not lost and found.owner != str(owner):
            raise KeyHeld(found.owner, seconds=2)
        if not action.may_repeat:
            return Claim(found, execute=False)
    found.status, found.owner, found.lease_expires_at = InvocationStatus.STARTED, str(owner), lease
    found.executions += 1
    found.ended_at, found.error = None, None
    found.save(update_fields=["status", "owner", "lease_expires_at", "executions", "ended_at", "error"])
    return Claim(found, execute=True)


def invocation_end(invocation: ActionInvocation, *, output: Any = None, error: dict[str, Any] | None = None) -> None:
    """Store what became of it. Errors: KeyLost when another execution has taken the key over."""
    stored = _owned(invocation).update(
        status=InvocationStatus.SUCCEEDED if error is None else InvocationStatus.FAILED,
        output=output,
        error=error,
        ended_at=timezone.now(),
        lease_expires_at=None,
    )
    if not stored:
        raise KeyLost(f"the idempotency key {invocation.idempotency_key} was taken over")


def invocation_renew(invocation: ActionInvocation) -> None:
    """Its owner is alive: keep the key for another while."""
    _owned(invocation).update(lease_expires_at=timezone.now() + LEASE)


def invocation_leave(invocation: ActionInvocation) -> None:
    """Its outcome is unknown: whoever asks for the key next is told so at once."""
    _owned(invocation).update(lease_expires_at=timezone.now())


def _owned(invocation: ActionInvocation) -> QuerySet[ActionInvocation]:
    return ActionInvocation.objects.filter(id=invocation.id, owner=invocation.owner, status=InvocationStatus.STARTED)
