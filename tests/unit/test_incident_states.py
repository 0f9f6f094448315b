"""States of incidents after failures: snooze, resolution in a version, regression, end. The rows are not saved.

Source: docs/reference/incidents.md#states
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workflows.models import Incident
from workflows.services.incidents.states import state_after_failure, state_awake

NOW = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def incident(state: str, **fields: Any) -> Incident:
    return Incident(state=state, state_since=NOW, first_failed_at=NOW, last_failed_at=NOW, **fields)


def fail(row: Incident, *, version: int = 1, at: datetime = NOW + HOUR, is_counted: bool = True) -> str:
    state_after_failure(row, version=version, failed_at=at, is_counted=is_counted)
    return row.state


@pytest.mark.parametrize(
    ("fields", "failure", "state"),
    [
        ({"state": "new"}, {}, "new"),
        ({"state": "open", "owner_name": "Jonas"}, {}, "open"),
        ({"state": "regressed"}, {}, "regressed"),
        # Resolved in version 3: only a later failure on version 3 or newer counts.
        ({"state": "resolved", "resolved_in": 3}, {"version": 2}, "resolved"),
        ({"state": "resolved", "resolved_in": 3}, {"version": 3}, "regressed"),
        ({"state": "resolved", "resolved_in": 3}, {"version": 4}, "regressed"),
        ({"state": "resolved", "resolved_in": 3}, {"version": 3, "at": NOW - HOUR}, "resolved"),
        ({"state": "resolved", "resolved_in": 3}, {"version": 3, "at": NOW}, "resolved"),
        ({"state": "resolved", "resolved_in": 3}, {"version": 3, "is_counted": False}, "regressed"),  # a replay
        ({"state": "closed", "resolved_in": 3}, {"version": 2}, "closed"),
        ({"state": "closed", "resolved_in": 3}, {"version": 3}, "regressed"),
        ({"state": "closed"}, {}, "new"),
        ({"state": "closed", "owner_name": "Jonas"}, {}, "open"),
        ({"state": "closed"}, {"at": NOW - HOUR}, "closed"),
        ({"state": "snoozed", "snoozed_until": NOW + 2 * HOUR}, {}, "snoozed"),
        ({"state": "snoozed", "snoozed_until": NOW + HOUR}, {}, "new"),
        ({"state": "snoozed", "snoozed_until": NOW + HOUR, "owner_name": "Jonas"}, {}, "open"),
        ({"state": "snoozed", "snoozed_until": NOW + HOUR, "snoozed_from": "regressed"}, {}, "regressed"),
        ({"state": "snoozed", "snoozed_for": 1}, {}, "new"),
        ({"state": "snoozed", "snoozed_for": 1}, {"is_counted": False}, "snoozed"),
        ({"state": "snoozed", "snoozed_for": 1}, {"at": NOW - HOUR}, "snoozed"),
        ({"state": "snoozed", "snoozed_for": 2, "snoozed_until": NOW + HOUR / 2}, {}, "new"),
    ],
)
def test_state_after_one_failure(fields: dict[str, Any], failure: dict[str, Any], state: str) -> None:
    assert fail(incident(**fields), **failure) == state


def test_snooze_ends_with_the_last_of_the_chosen_failures() -> None:
    row = incident("snoozed", snoozed_for=3, snoozed_until=NOW + 9 * HOUR, snoozed_from="new")
    assert [fail(row) for _ in range(4)] == ["snoozed", "snoozed", "new", "new"]
    assert (row.snoozed_for, row.snoozed_until, row.snoozed_from) == (None, None, "")


def test_regression_says_why_and_since_when() -> None:
    row = incident("resolved", resolved_in=3)
    fail(row, version=4)
    assert (row.state_since, row.resolved_in) == (NOW + HOUR, 3)
    assert row.state_reason == "a run on version 4 failed, and version 3 should have resolved the incident"


def test_incident_that_wakes_is_open_only_with_an_owner() -> None:
    assert state_awake(incident("snoozed", snoozed_from="open")) == "new"  # the owner was removed meanwhile
    assert state_awake(incident("snoozed", snoozed_from="new", owner_name="Jonas")) == "open"
