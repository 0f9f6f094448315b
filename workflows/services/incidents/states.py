"""States of an incident and their changes (docs/reference/incidents.md#states). This module is pure.

The functions change an `Incident` object. The caller saves it.
"""

from datetime import datetime

from workflows.models import Incident
from workflows.statuses import IncidentState

STATE_FIELDS = (
    "state", "state_since", "state_reason", "snoozed_from", "snoozed_until", "snoozed_for", "resolved_in",
)  # fmt: skip


def state_set(incident: Incident, state: IncidentState, *, at: datetime, reason: str = "") -> None:
    """Set the state. A snooze ends with every other state."""
    incident.state, incident.state_since, incident.state_reason = state, at, reason[:500]
    if state != IncidentState.SNOOZED:
        incident.snoozed_from, incident.snoozed_until, incident.snoozed_for = "", None, None


def state_awake(incident: Incident) -> IncidentState:
    """Return the state of the incident without its snooze or its end."""
    if incident.snoozed_from == IncidentState.REGRESSED:
        return IncidentState.REGRESSED
    return IncidentState.OPEN if incident.owner_name else IncidentState.NEW


def state_after_failure(incident: Incident, *, version: int, failed_at: datetime, is_counted: bool) -> None:
    """Change the state after a failure of this incident.

    A failure from before the present state began changes nothing, because the person already knew about it.
    """
    if failed_at <= incident.state_since:
        return
    where = f"a run on version {version} failed"
    if incident.state == IncidentState.SNOOZED:
        _count_down(incident, failed_at=failed_at, is_counted=is_counted)
    elif incident.state in (IncidentState.RESOLVED, IncidentState.CLOSED):
        if incident.resolved_in is None:
            state_set(incident, state_awake(incident), at=failed_at, reason=f"{where} after the incident was closed")
        elif version >= incident.resolved_in:
            reason = f"{where}, and version {incident.resolved_in} should have resolved the incident"
            state_set(incident, IncidentState.REGRESSED, at=failed_at, reason=reason)


def _count_down(incident: Incident, *, failed_at: datetime, is_counted: bool) -> None:
    if incident.snoozed_until is not None and failed_at >= incident.snoozed_until:
        wake(incident, at=incident.snoozed_until)
    elif incident.snoozed_for is not None and is_counted:
        incident.snoozed_for -= 1
        if incident.snoozed_for == 0:
            state_set(
                incident, state_awake(incident), at=failed_at, reason="the chosen number of further runs has failed"
            )


def wake(incident: Incident, *, at: datetime) -> None:
    """End the snooze whose time has come."""
    state_set(incident, state_awake(incident), at=at, reason="the time of the snooze is over")
