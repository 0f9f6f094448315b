"""Action ledger: one invocation per tenant, action, version and idempotency key.

A claim has one of three results. The caller executes the action. Or it uses the stored output or error. Or the outcome
of an earlier execution is unknown. If another execution holds the key, the activity fails, and Temporal retries the
activity after a short delay.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from workflows.actions.registry import Action
from workflows.engine.unknown_outcomes import DID_NOT_HAPPEN, HAPPENED
from workflows.models import ActionInvocation
from workflows.statuses import InvocationStatus

LEASE = timedelta(seconds=60)


class KeyLost(Exception):
    """Another execution has claimed the key.

    So the outcome of this execution is not stored, and its transaction rolls back.
    """


class KeyHeld(Exception):
    """Another execution with this key is running. The caller may try again after `seconds`."""

    def __init__(self, owner: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The execution {owner} holds the idempotency key. Try again in {seconds:g} s.")


@dataclass(frozen=True)
class Owner:
    """Activity execution that claims a key. `attempt` is Temporal's attempt number of the activity."""

    activity: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.activity}#{self.attempt}"

    def has_outlived(self, other: str) -> bool:
        """Return True if `other` is an earlier attempt of this activity. Temporal then treats that attempt as lost."""
        activity, _, attempt = other.rpartition("#")
        return activity == self.activity and attempt.isdecimal() and int(attempt) < self.attempt


@dataclass(frozen=True)
class Claim:
    """Result of a claim.

    If `execute` is False, the caller reads the status of the invocation. SUCCEEDED: use the stored output. FAILED: use
    the stored error. STARTED: the outcome is unknown.
    """

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
    decision: dict[str, Any] | None = None,
) -> Claim:
    """Claim an idempotency key. Call it inside a transaction, because the row stays locked until the transaction ends.

    `decision`: the operator's decision about the unknown outcome of this invocation, `{outcome, output?, executions}`.
    It applies only to the executions that the operator knew at the time of the decision.

    Errors: KeyHeld if another execution with the key is running.
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
    if found.status == InvocationStatus.FAILED and decision is not None and decision["outcome"] != DID_NOT_HAPPEN:
        return Claim(found, execute=False)
    if found.status == InvocationStatus.STARTED:
        lost = owner.has_outlived(found.owner) or found.lease_expires_at is None or found.lease_expires_at <= now
        if not lost and found.owner != str(owner):
            raise KeyHeld(found.owner, seconds=2)
        decided = decision["outcome"] if decision and decision["executions"] == found.executions else ""
        if decided == HAPPENED:
            return _ended_by_decision(found, decision["output"] if decision else None)
        if decided != DID_NOT_HAPPEN and not action.may_repeat:
            return Claim(found, execute=False)
    found.status, found.owner, found.lease_expires_at = InvocationStatus.STARTED, str(owner), lease
    found.executions += 1
    found.ended_at, found.error = None, None
    found.save(update_fields=["status", "owner", "lease_expires_at", "executions", "ended_at", "error"])
    return Claim(found, execute=True)


def _ended_by_decision(invocation: ActionInvocation, output: Any) -> Claim:
    """Store the output that the operator entered. So every run with this key uses this output."""
    invocation.status, invocation.output, invocation.error = InvocationStatus.SUCCEEDED, output, None
    invocation.ended_at, invocation.lease_expires_at = timezone.now(), None
    invocation.save(update_fields=["status", "output", "error", "ended_at", "lease_expires_at"])
    return Claim(invocation, execute=False)


def invocation_end(invocation: ActionInvocation, *, output: Any = None, error: dict[str, Any] | None = None) -> None:
    """Store the outcome of an invocation.

    Errors: KeyLost if another execution has claimed the key.
    """
    stored = _owned(invocation).update(
        status=InvocationStatus.SUCCEEDED if error is None else InvocationStatus.FAILED,
        output=output,
        error=error,
        ended_at=timezone.now(),
        lease_expires_at=None,
    )
    if not stored:
        raise KeyLost(f"Another execution has claimed the idempotency key {invocation.idempotency_key}.")


def invocation_renew(invocation: ActionInvocation) -> None:
    """Extend the lease of a running invocation."""
    _owned(invocation).update(lease_expires_at=timezone.now() + LEASE)


def invocation_leave(invocation: ActionInvocation) -> None:
    """End the lease of an invocation with an unknown outcome.

    So the next claim need not wait for the end of the lease.
    """
    _owned(invocation).update(lease_expires_at=timezone.now())


def _owned(invocation: ActionInvocation) -> QuerySet[ActionInvocation]:
    return ActionInvocation.objects.filter(id=invocation.id, owner=invocation.owner, status=InvocationStatus.STARTED)
