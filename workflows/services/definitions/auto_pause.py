"""Auto-pause: the portal pauses a definition whose runs fail too often. Only a person can resume it.

The failure rate is the share of failed runs among the latest closed runs. Canceled and terminated runs do not count,
because a person ended them. Runs that were created before the last publication or resume do not count either.

Source: docs/reference/administration.md#auto-pause
"""

import logging
import uuid
from dataclasses import dataclass

from django.urls import reverse

from workflows.actors import system_actor
from workflows.errors import Conflict
from workflows.models import Command, Definition, Notification, Run, TenantMembership
from workflows.services.definitions.changes import definition_change
from workflows.services.definitions.pause import set_paused
from workflows.shares import percent
from workflows.statuses import CommandAction, Engine, Role, RunStatus
from workflows.tenancy import tenant_scope

logger = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.5
DEFAULT_MIN_RUNS = 10
# Number of latest closed runs that count. With a larger `failure_rate_min_runs`, as many runs as this setting says.
WINDOW = 100
FAILURES = (RunStatus.FAILED, RunStatus.TIMED_OUT)
ACTOR = "auto-pause"


@dataclass(frozen=True)
class FailureRate:
    """Failed runs among the latest closed runs of a definition, and the limits that apply to it."""

    failed: int
    closed: int
    threshold: float
    min_runs: int

    @property
    def is_too_high(self) -> bool:
        return self.closed >= self.min_runs and self.failed > 0 and self.failed >= self.threshold * self.closed

    @property
    def reason(self) -> str:
        share = f"{percent(self.failed, self.closed)} %"
        return (
            f"{self.failed} of the latest {self.closed} closed runs failed ({share}); the threshold is "
            f"{100 * self.threshold:g} %"
        )


def failure_rate(definition: Definition) -> FailureRate:
    """Return the failure rate of a definition. A threshold above 1 comes from a bundle and means percent."""
    threshold = definition.failure_rate_threshold or DEFAULT_THRESHOLD
    min_runs = definition.failure_rate_min_runs or DEFAULT_MIN_RUNS
    runs = Run.objects.filter(
        tenant_id=definition.tenant_id,
        definition=definition,
        engine=Engine.TEMPORAL,
        status__in=[RunStatus.SUCCEEDED, *FAILURES],
        ended_at__isnull=False,
    )
    if definition.failures_counted_from is not None:
        runs = runs.filter(created_at__gte=definition.failures_counted_from)
    statuses = list(runs.order_by("-ended_at").values_list("status", flat=True)[: max(WINDOW, min_runs)])
    failed = sum(1 for status in statuses if status in FAILURES)
    return FailureRate(failed, len(statuses), threshold / 100 if threshold > 1 else threshold, min_runs)


def definitions_auto_pause() -> list[str]:
    """Pause every definition whose failure rate is too high. Return the keys of the paused definitions.

    Call it with the scope of all tenants. If one definition cannot be checked, the others are still checked.
    """
    watched = Definition.objects.filter(
        auto_pause_on_failure=True, is_paused=False, archived_at__isnull=True, published_version__isnull=False
    )
    paused = []
    for definition in watched.defer("draft_text"):
        try:
            with tenant_scope(definition.tenant_id):
                rate = failure_rate(definition)
                if rate.is_too_high and definition_auto_pause(tenant_id=definition.tenant_id, key=definition.key):
                    paused.append(definition.key)
        except Exception:
            logger.exception("the failure rate of %s was not checked; it is checked again later", definition.key)
    return paused


def definition_auto_pause(*, tenant_id: uuid.UUID, key: str) -> bool:
    """Pause one definition as the system actor, and notify its authors. Return False if there is no reason any more."""
    actor = system_actor(tenant_id, name=ACTOR)
    found = Definition.objects.get(tenant_id=tenant_id, key=key)
    reason = failure_rate(found).reason
    try:
        with definition_change(
            actor=actor, key=key, action=CommandAction.PAUSE, to="pause definitions", needs=None, reason=reason
        ) as change:
            definition = change.definition
            # The row is locked now. A person may have paused, resumed or archived it since the check.
            if definition.is_paused or definition.archived_at or not failure_rate(definition).is_too_high:
                raise Conflict(f"{key} has changed in the meantime and is not paused", code="DEFINITION_PAUSED")
            set_paused(definition, by=actor, reason=reason, is_automatic=True)
            _notify(definition, change.command)
    except Conflict as error:
        logger.info("no auto-pause: %s", error.message)
        return False
    return True


def _notify(definition: Definition, command: Command) -> None:
    """Write one notification for each author and administrator, with the owner, the contact and the runbook."""
    responsible = {"Owner": definition.owner, "Contact": definition.contact, "Runbook": definition.runbook_url}
    lines = [f"{name}: {value}" for name, value in responsible.items() if value]
    members = TenantMembership.objects.filter(tenant_id=definition.tenant_id, role__in=[Role.AUTHOR, Role.ADMIN])
    Notification.objects.bulk_create(
        Notification(
            tenant_id=definition.tenant_id,
            user_id=user_id,
            idempotency_key=f"auto-pause:{command.id}",
            severity="error",
            title=f"{definition.name} is paused, because too many runs failed"[:300],
            body="\n".join([f"{definition.paused_reason}.", *lines]),
            link=reverse("admin:workflows_definition_change", args=[definition.id]),
        )
        for user_id in members.values_list("user_id", flat=True)
    )
