"""Retention periods of a tenant. Its administrators read and change them (docs/reference/retention.md#periods)."""

import logging
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid
from workflows.models import Tenant
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.retention.preview import older_rows
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role
from workflows.temporal import gateway
from workflows.temporal.listing import namespace_retention

logger = logging.getLogger(__name__)

# Nothing that is younger is deleted. The lookback of waits needs events of up to one day. The database
# functions `workflow_ledger_prune` and `sign_in_records_prune` have the last two values too.
LEAST = {"runs": 7, "events": 7, "notifications": 7, "ledger": 90, "sign_ins": 90}
MOST = 36_500
# The clocks of Temporal and of the portal may differ, and Temporal deletes a history some time after its period.
MARGIN = timedelta(days=1)
COLUMNS = {
    "runs": "closed_run_retention_days",
    "events": "event_retention_days",
    "notifications": "notification_retention_days",
    "ledger": "ledger_retention_days",
    "sign_ins": "sign_in_retention_days",
}


@dataclass(frozen=True)
class RetentionPolicy:
    """Days for which rows are kept: closed runs, events, notifications, the command ledger, and the log of sign-ins."""

    runs: int
    events: int
    notifications: int
    ledger: int
    sign_ins: int

    def as_json(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def before(self) -> dict[str, datetime]:
        """Return the time before which rows are old, for each part. A stored value below LEAST does not apply."""
        now = timezone.now()
        return {name: now - timedelta(days=max(LEAST[name], days)) for name, days in self.as_json().items()}


def policy_of(tenant: Tenant) -> RetentionPolicy:
    return RetentionPolicy(**{name: getattr(tenant, column) for name, column in COLUMNS.items()})


def require_retention_role(*, actor: Actor) -> None:
    """Call this function before errors in the request are reported.

    Errors: PermissionRefused, which is recorded in the ledger.
    """
    require_role(
        actor=actor,
        needs=Role.ADMIN,
        to="change the retention periods",
        action=CommandAction.EDIT_RETENTION,
        target_type="retention",
    )


def retention_policy_find(*, actor: Actor) -> RetentionPolicy:
    """Errors: PermissionRefused."""
    actor.require(Role.ADMIN, to="see the retention periods")
    return policy_of(Tenant.objects.get(id=actor.tenant_id))


def retention_policy_save(
    *, actor: Actor, policy: RetentionPolicy, is_confirmed: bool = False, reason: str = "", idempotency_key: str = ""
) -> RetentionPolicy:
    """Store the periods. The next deletion uses them. `is_confirmed`: the actor knows that shorter ones delete more.

    Errors: PermissionRefused; InputInvalid RETENTION_INVALID with `details.fields`; CommandRepeated; Conflict
    RETENTION_NOT_CONFIRMED, with the number of old rows for each shorter period in `details.older`.
    """
    require_retention_role(actor=actor)
    require_policy_valid(policy)
    if not is_confirmed:
        _require_not_shorter(actor, policy)
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_RETENTION,
        target_type="retention",
        target_id="",
        reason=reason,
        payload=policy.as_json(),
        idempotency_key=idempotency_key,
    ) as command:
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=actor.tenant_id)
        command.details = {"before": policy_of(tenant).as_json()}
        Tenant.objects.filter(id=tenant.id).update(
            **{column: getattr(policy, name) for name, column in COLUMNS.items()}
        )
    return policy


def _require_not_shorter(actor: Actor, policy: RetentionPolicy) -> None:
    """Errors: Conflict RETENTION_NOT_CONFIRMED."""
    now, before = policy_of(Tenant.objects.get(id=actor.tenant_id)).as_json(), policy.before()
    shorter = {name: days for name, days in policy.as_json().items() if days < now[name]}
    if not shorter:
        return
    older = older_rows(tenant_id=actor.tenant_id, before={name: before[name] for name in shorter})
    counts = ", ".join(f"{name}: {older[name]} older than {days} days" for name, days in shorter.items())
    raise Conflict(
        f"shorter periods delete more rows, so nothing was changed. Rows now: {counts}. Check the numbers, then confirm"
        " the change: `confirm` in the request, `--confirm` in the command",
        code="RETENTION_NOT_CONFIRMED",
        details={"older": older},
    )


def require_policy_valid(policy: RetentionPolicy) -> None:
    """Errors: InputInvalid RETENTION_INVALID with `details.fields`."""
    faults = _faults(policy)
    if faults:
        name = next(iter(faults))
        raise InputInvalid(
            f"{name}: {faults[name][0]}",
            code="RETENTION_INVALID",
            details={"fields": {name: [f"{text[0][0].upper()}{text[0][1:]}."] for name, text in faults.items()}},
        )


def runs_kept_by_temporal() -> timedelta:
    """Return the time for which a closed run must stay because Temporal may still have its history.

    Errors: TemporalError. Then no run may be deleted.
    """
    return namespace_retention() + MARGIN


def _faults(policy: RetentionPolicy) -> dict[str, list[str]]:
    """Return the problems by the name of the field."""
    given: dict[str, Any] = policy.as_json()
    faults = {
        name: [f"the period must be from {LEAST[name]} to {MOST:,} days"]
        for name, days in given.items()
        if not LEAST[name] <= days <= MOST
    }
    if "runs" not in faults:
        needed = _days_of_temporal()
        if given["runs"] < needed:
            faults["runs"] = [f"Temporal keeps the history of a run for {needed} days; use at least {needed} days"]
    if not faults and policy.ledger < policy.runs:
        faults["ledger"] = [
            f"the ledger must be kept at least as long as runs; use at least {policy.runs} days, or shorten runs"
        ]
    return faults


def _days_of_temporal() -> int:
    """Return the whole days for which Temporal keeps a history. If Temporal is down, the deletion checks it later."""
    try:
        return -(-namespace_retention() // timedelta(days=1))
    except gateway.TemporalError as error:
        logger.warning("the namespace's retention cannot be read: %s", error)
        return 0
