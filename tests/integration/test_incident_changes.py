"""Changes of incidents by members and by time: states, merge and split, which hold for later failures.

Source: docs/reference/incidents.md#states, docs/reference/incidents.md#merge
"""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.factories import make_actor, make_tenant, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents, incident_of_run
from tests.support.management_commands import run_command
from tests.support.members import member_of
from tests.support.old_runs import days_ago
from workflows.errors import Conflict, InputInvalid, NotFound, PermissionRefused, PortalError
from workflows.models import Command, Incident, IncidentFailure, IncidentHour, Run, TenantMembership
from workflows.projections.transaction import projection_writer
from workflows.selectors.incidents import runs_of_incident
from workflows.services.incidents import change, combine
from workflows.services.incidents.clock import incidents_close_quiet, incidents_wake
from workflows.services.incidents.hours import hour_of
from workflows.statuses import Role


def count_of(incident: Incident) -> tuple[int, int]:
    """Return the count of the incident, and the number of runs that its link finds."""
    incident.refresh_from_db()
    runs = runs_of_incident(Run.objects.all(), tenant_id=incident.tenant_id, number=incident.number)
    return incident.run_count, runs.count()


@pytest.fixture
def version(tenant: Any) -> Any:
    return publish(tenant, CAPTURE)


@pytest.fixture
def incident(tenant: Any, version: Any) -> Incident:
    fail_run(version)
    return grow_incidents(tenant)[0]


# -- Merge and split ---------------------------------------------------------------------------------------------------


def test_merge_holds_for_later_failures_and_can_be_undone(tenant: Any, version: Any) -> None:
    actor = make_actor(tenant, Role.OPERATOR)
    for message in ("The gate is closed.", "The gate is locked.", "The gate is locked."):
        fail_run(version, message)
    closed, locked = grow_incidents(tenant)
    assert combine.incident_merge(actor=actor, incident_id=locked.id, into=closed.number) == closed
    assert count_of(closed) == (3, 3)
    later = fail_run(version, "The gate is locked.")
    replay = fail_run(version, "The gate is locked.", replay_of=later)  # it is not counted again
    grow_incidents(tenant)
    assert (count_of(closed), incident_of_run(later)) == ((4, 4), closed)
    with pytest.raises(Conflict, match="merged into INC-1"):
        change.incident_close(actor=actor, incident_id=locked.id)
    combine.incident_separate(actor=actor, incident_id=locked.id)
    assert (count_of(closed), count_of(locked), incident_of_run(later)) == ((1, 1), (3, 3), locked)
    assert locked.last_failed_at == replay.ended_at
    fail_run(version, "The gate is locked.")
    grow_incidents(tenant)
    assert (count_of(closed), count_of(locked)) == ((1, 1), (4, 4))


def test_merge_of_a_merged_incident_keeps_all_counts(tenant: Any, version: Any) -> None:
    actor = make_actor(tenant, Role.OPERATOR)
    for message in ("one", "two", "three"):
        fail_run(version, f"The gate is {message}.")
    one, two, three = grow_incidents(tenant)
    combine.incident_merge(actor=actor, incident_id=three.id, into=two.number)
    combine.incident_merge(actor=actor, incident_id=two.id, into=one.number)
    assert count_of(one) == (3, 3)
    fail_run(version, "The gate is three.")
    grow_incidents(tenant)
    assert count_of(one) == (4, 4)
    combine.incident_separate(actor=actor, incident_id=two.id)
    assert (count_of(one), count_of(two)) == ((3, 3), (1, 1))


def test_merge_after_a_deletion_by_retention_keeps_the_time_of_the_first_failure(tenant: Any, version: Any) -> None:
    fail_run(version, "No payment.")
    fail_run(version, "The gate is closed.")
    first, second = sorted(grow_incidents(tenant), key=lambda each: each.number)
    old = days_ago(100)
    with projection_writer("test"):
        Run.objects.filter(tenant=tenant).update(ended_at=old)
    IncidentFailure.objects.filter(tenant=tenant).update(failed_at=old)
    IncidentHour.objects.filter(tenant=tenant).update(hour=hour_of(old))
    Incident.objects.filter(tenant=tenant).update(first_failed_at=old)
    run_command("prune", "--tenant", tenant.slug)
    assert not IncidentFailure.objects.filter(tenant=tenant).exists()
    fail_run(version, "No payment.")
    grow_incidents(tenant)
    combine.incident_merge(actor=make_actor(tenant), incident_id=second.id, into=first.number)
    first.refresh_from_db()
    assert (first.run_count, first.first_failed_at) == (3, old)


def test_split_moves_failures_and_holds_for_later_ones(tenant: Any, version: Any) -> None:
    actor = make_actor(tenant, Role.OPERATOR)
    for key in ("PAY-1", "PAY-2", "OLD-1"):
        fail_run(version, f"No payment with the id {key} exists.")
    (incident,) = grow_incidents(tenant)
    for text, problem in (("zz", "3 to 200"), ("XYZ-", "no message"), ("No payment", "each message")):
        with pytest.raises(InputInvalid, match=problem):
            combine.incident_split(actor=actor, incident_id=incident.id, text=text)
    split = combine.incident_split(actor=actor, incident_id=incident.id, text="OLD-")
    assert (count_of(incident), count_of(split), split.number) == ((2, 2), (1, 1), 2)
    later = fail_run(version, "No payment with the id OLD-7 exists.")
    fail_run(version, "No payment with the id PAY-7 exists.")
    grow_incidents(tenant)
    assert (count_of(incident), count_of(split), incident_of_run(later)) == ((3, 3), (2, 2), split)
    hours = IncidentHour.objects.filter(tenant=tenant).values_list("incident__number", "failures")
    assert {number: sum(n for at, n in hours if at == number) for number, _ in hours} == {1: 3, 2: 2}
    # A merge undoes the split, also for later failures.
    combine.incident_merge(actor=actor, incident_id=split.id, into=incident.number)
    fail_run(version, "No payment with the id OLD-8 exists.")
    grow_incidents(tenant)
    assert count_of(incident) == (6, 6)


def test_only_incidents_of_one_definition_are_merged(tenant: Any, incident: Incident) -> None:
    fail_run(publish(tenant, CAPTURE, key="other"))
    actor = make_actor(tenant, Role.OPERATOR)
    for number in (1, 2, 99):
        with pytest.raises(InputInvalid) as refusal:
            combine.incident_merge(actor=actor, incident_id=incident.id, into=number)
        assert refusal.value.code == "INCIDENT_MERGE_TARGET"


# -- States ------------------------------------------------------------------------------------------------------------


def test_resolved_incident_regresses_only_on_that_version_or_newer(tenant: Any, incident: Incident) -> None:
    actor = make_actor(tenant, Role.OPERATOR)
    old, new = (publish(tenant, {**CAPTURE, "name": name}) for name in ("Old", "New"))
    assert (old.version, new.version) == (2, 3)
    change.incident_resolve(actor=actor, incident_id=incident.id, version=3)
    for version, state in ((old, "resolved"), (new, "regressed")):
        fail_run(version)
        grow_incidents(tenant)
        incident.refresh_from_db()
        assert incident.state == state
    assert (incident.run_count, incident.first_version, incident.last_version) == (3, 1, 3)


def test_time_ends_snoozes_and_closes_quiet_incidents(tenant: Any, incident: Incident, settings: Any) -> None:
    actor = make_actor(tenant, Role.OPERATOR)
    change.incident_snooze(actor=actor, incident_id=incident.id, until=timezone.now() + timedelta(days=1))
    incidents_wake()
    incident.refresh_from_db()
    assert incident.state == "snoozed"
    Incident.objects.filter(id=incident.id).update(snoozed_until=timezone.now())
    incidents_wake()
    incident.refresh_from_db()
    assert (incident.state, incident.snoozed_until) == ("new", None)
    quiet = timezone.now() - timedelta(days=settings.INCIDENT_QUIET_DAYS, minutes=1)
    for fields, state in (
        ({"last_failed_at": quiet}, "new"),  # a member has changed the state in the meantime
        ({"state_since": quiet, "last_failed_at": timezone.now()}, "new"),
        ({"state_since": quiet, "last_failed_at": quiet}, "closed"),
    ):
        Incident.objects.filter(id=incident.id).update(**fields)
        incidents_close_quiet()
        incident.refresh_from_db()
        assert incident.state == state, fields
    assert incident.state_reason == f"no failure for {settings.INCIDENT_QUIET_DAYS:g} days"


def test_owner_is_a_member(tenant: Any, incident: Incident) -> None:
    member_of(tenant)
    member = TenantMembership.objects.get(tenant=tenant).user
    actor = make_actor(tenant, Role.OPERATOR)
    owned = change.incident_own(actor=actor, incident_id=incident.id, username=member.username)
    assert (owned.state, owned.owner_name) == ("open", member.username)
    assert change.incident_own(actor=actor, incident_id=incident.id, username="").state == "new"
    member_of(make_tenant())
    for username in ("nobody", TenantMembership.objects.exclude(tenant=tenant).last().user.username, None):
        with pytest.raises(InputInvalid) as refusal:
            change.incident_own(actor=actor, incident_id=incident.id, username=username)
        assert refusal.value.code == "MEMBER_UNKNOWN"


CHANGES: dict[str, Callable[..., Any]] = {
    "own": lambda **of: change.incident_own(username="", **of),
    "snooze": lambda **of: change.incident_snooze(failures=2, **of),
    "resolve": lambda **of: change.incident_resolve(version=1, **of),
    "close": change.incident_close,
    "reopen": change.incident_reopen,
    "note": lambda **of: change.incident_note(text="x", **of),
    "merge": lambda **of: combine.incident_merge(into=2, **of),
    "separate": combine.incident_separate,
    "split": lambda **of: combine.incident_split(text="PAY", **of),
}


@pytest.mark.parametrize("name", CHANGES)
def test_change_needs_the_role_operator_and_has_a_ledger_row(tenant: Any, incident: Incident, name: str) -> None:
    with pytest.raises(PermissionRefused):
        CHANGES[name](actor=make_actor(tenant, Role.VIEWER), incident_id=incident.id)
    is_refused = name in ("reopen", "merge", "separate", "split")  # the incident is new and the only one
    with pytest.raises(PortalError) if is_refused else nullcontext():
        CHANGES[name](actor=make_actor(tenant, Role.OPERATOR), incident_id=incident.id)
    rows = Command.objects.filter(tenant=tenant, target_id=str(incident.id)).order_by("requested_at")
    assert [row.payload["operation"] for row in rows] == [name, name]
    assert [row.state for row in rows] == ["refused", "refused" if is_refused else "observed"]
    with pytest.raises(NotFound):
        CHANGES[name](actor=make_actor(make_tenant()), incident_id=incident.id)


def test_state_that_does_not_allow_a_change_refuses_it(tenant: Any, incident: Incident) -> None:
    actor = make_actor(tenant, Role.OPERATOR)
    with pytest.raises(Conflict, match="nothing was changed"):
        change.incident_reopen(actor=actor, incident_id=incident.id)
    change.incident_close(actor=actor, incident_id=incident.id)
    for refused in ("snooze", "close"):
        with pytest.raises(Conflict) as refusal:
            CHANGES[refused](actor=actor, incident_id=incident.id)
        assert refusal.value.code == "INCIDENT_STATE"
    assert change.incident_reopen(actor=actor, incident_id=incident.id).state == "new"
    with pytest.raises(InputInvalid) as unknown:
        change.incident_resolve(actor=actor, incident_id=incident.id, version=3)
    assert unknown.value.code == "INCIDENT_VERSION_UNKNOWN"


def test_incident_is_not_resolved_in_a_version_older_than_its_newest_failure(tenant: Any, incident: Incident) -> None:
    fail_run(publish(tenant, {**CAPTURE, "name": "Second"}), "No payment with the id PAY-9 exists.")
    grow_incidents(tenant)
    publish(tenant, {**CAPTURE, "name": "Third"})
    actor = make_actor(tenant, Role.OPERATOR)
    with pytest.raises(InputInvalid, match="failed on version 2, so version 1 did not resolve it") as refusal:
        change.incident_resolve(actor=actor, incident_id=incident.id, version=1)
    assert "from 3 to 4, or version 2 if no new version was needed" in refusal.value.message
    assert refusal.value.code == "INCIDENT_VERSION_FAILED"
    incident.refresh_from_db()
    assert (incident.state, incident.resolved_in) == ("new", None)
    for version in (2, 3, 4):
        assert change.incident_resolve(actor=actor, incident_id=incident.id, version=version).resolved_in == version
