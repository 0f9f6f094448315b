"""Growth of incidents: grouping, replays, states after failures, and each failure exactly once.

Source: docs/reference/incidents.md
"""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_run, make_tenant, publish
from tests.support.failed_runs import CAPTURE, fail_run, grow_incidents, incident_of_run
from tests.support.members import member_of
from workflows.models import Incident, IncidentFailure, IncidentHour, Run
from workflows.models.fields import new_id
from workflows.projections.transaction import projection_writer
from workflows.selectors.incidents import dashboard_incidents, incident_counts, runs_of_incident
from workflows.services.incidents import grow
from workflows.services.incidents.grow import batch_grow, incidents_grow
from workflows.tenancy import tenant_scope

FIRST = {"id": "first", "type": "state.set", "config": {"state": "Y"}}


def test_failures_with_one_cause_are_one_incident(tenant: Any) -> None:
    first = publish(tenant, CAPTURE)
    second = publish(tenant, FIRST, CAPTURE)
    start = timezone.now() - timedelta(hours=2)
    runs = [fail_run(first, f"No payment with the id PAY-{n} exists.", ended_at=start) for n in (1, 2)]
    runs.append(fail_run(second, path="root.steps[1]"))  # the same step has another path in version 2
    fail_run(first, code="TIMEOUT")
    fail_run(first, "Something else")
    make_run(tenant, definition_version=first, status="SUCCEEDED", ended_at=start)
    make_run(tenant, definition_version=first, status="CANCELED", ended_at=start)
    fail_run(first, engine="db")
    incidents = grow_incidents(tenant)
    found = incidents[0]
    assert [(i.number, i.run_count) for i in incidents] == [(1, 3), (2, 1), (3, 1)]
    assert (found.first_version, found.last_version, found.step_path) == (1, 2, "root.steps[1]")
    assert (found.step_id, found.step_name, found.message) == (
        "capture", "Capture", "No payment with the id <id> exists.",
    )  # fmt: skip
    assert (found.first_failed_at, found.last_failed_at) == (start, runs[2].ended_at)
    assert set(runs_of_incident(Run.objects.all(), tenant_id=tenant.id, number=1)) == set(runs)
    assert [incident_of_run(run) for run in runs] == [found] * 3
    rows, counts = dashboard_incidents(tenant_id=tenant.id)
    assert (counts, counts["new"]) == (incident_counts(tenant_id=tenant.id), 3)
    assert [row.incident.run_count for row in rows] == [3, 1, 1]  # not the newest failure first
    hours = {row.incident.number: row.hours for row in rows}
    assert (sum(hours[1]), hours[1][-3] + hours[1][-2], len(hours[1])) == (3, 2, 24)


def test_messages_beyond_the_limit_are_one_incident(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.services.incidents.groups.MOST_MESSAGES", 2)
    version = publish(tenant, CAPTURE)
    for name in ("Wolff", "Sato"):
        fail_run(version, f"Customer {name} is blocked.")
    assert [incident.is_others for incident in grow_incidents(tenant)] == [False, False]
    late = [fail_run(version, f"Customer {name} is blocked.") for name in ("Rio", "Marek")]
    known = fail_run(version, "Customer Sato is blocked.")
    elsewhere = fail_run(version, "Customer Rio is blocked.", code="TIMEOUT")  # another code has its own limit
    grow_incidents(tenant)
    late.append(fail_run(version, "Customer Okafor is blocked."))  # in a later batch
    wolff, sato, timeout, others = sorted(grow_incidents(tenant), key=lambda found: (found.is_others, found.number))
    assert [incident.run_count for incident in (wolff, sato, timeout, others)] == [1, 2, 1, 3]
    assert {incident_of_run(run) for run in late} == {others}
    assert (incident_of_run(known), incident_of_run(elsewhere)) == (sato, timeout)
    assert (others.is_others, others.message, str(others)) == (True, "(other messages)", f"INC-{others.number}")


def test_ended_incidents_leave_their_place_to_new_messages(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.services.incidents.groups.MOST_MESSAGES", 2)
    version = publish(tenant, CAPTURE)
    for name in ("Wolff", "Sato"):
        fail_run(version, f"Customer {name} is blocked.")
    wolff, sato = grow_incidents(tenant)
    Incident.objects.filter(id=wolff.id).update(state="resolved")
    Incident.objects.filter(id=sato.id).update(state="closed")
    for name in ("Rio", "Marek", "Okafor"):
        fail_run(version, f"Customer {name} is blocked.")
    assert [incident.is_others for incident in grow_incidents(tenant)] == [False, False, False, False, True]


def test_replay_is_shown_with_its_original_and_not_counted_again(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    original = fail_run(version)
    replay = fail_run(version, replay_of=original)
    again = fail_run(version, replay_of=replay)
    other = fail_run(version, replay_of=again, code="TIMEOUT")
    succeeded = make_run(tenant, definition_version=version, status="SUCCEEDED", ended_at=timezone.now())
    of_success = fail_run(version, replay_of=succeeded)
    incidents = grow_incidents(tenant)
    assert [incident.run_count for incident in incidents] == [2, 1]
    counted = runs_of_incident(Run.objects.all(), tenant_id=tenant.id, number=1)
    assert set(counted) == {original, of_success}
    assert [incident_of_run(run) for run in (replay, again, other)] == [incidents[0], incidents[0], incidents[1]]
    assert IncidentHour.objects.get(incident=incidents[0]).failures == 2


def test_replay_with_the_same_cause_changes_only_when_the_incident_was_last_seen(tenant: Any) -> None:
    version, now = publish(tenant, CAPTURE), timezone.now()
    times = [now - timedelta(minutes=minutes) for minutes in (30, 20, 10)]
    first = fail_run(version, ended_at=times[0])
    fail_run(version, ended_at=times[1])
    fail_run(version, ended_at=times[2], replay_of=first)
    (incident,) = grow_incidents(tenant)
    assert (incident.first_failed_at, incident.last_failed_at, incident.state_since) == (times[0], times[2], times[0])
    assert incident.run_count == 2
    page = member_of(tenant).get(reverse("admin:workflows_incident_change", args=[incident.id]))
    assert "1 failed again</b></a>" in page.content.decode()


def test_each_failure_counts_once_if_the_task_is_killed_or_runs_twice(tenant: Any, monkeypatch: Any) -> None:
    version = publish(tenant, CAPTURE)
    for number in range(6):
        fail_run(version, f"order {number}")

    def killed(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt), tenant_scope(tenant.id):
        patched.setattr(grow, "update_rows", killed)  # the last write of a batch
        batch_grow(tenant_id=tenant.id, size=4)
    assert not IncidentFailure.objects.filter(tenant=tenant).exists()

    def work() -> None:
        with tenant_scope(tenant.id):
            for _ in range(20):
                batch_grow(tenant_id=tenant.id, size=1)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (incident,) = grow_incidents(tenant)
    assert incident.run_count == IncidentFailure.objects.filter(tenant=tenant).count() == 6
    assert sum(IncidentHour.objects.filter(incident=incident).values_list("failures", flat=True)) == 6


def test_failures_of_an_outage_and_late_rows_are_read(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    old = timezone.now() - timedelta(days=30)
    fail_run(version, ended_at=old, projected_at=old)
    fail_run(version)
    assert grow_incidents(tenant)[0].run_count == 2
    # This row has been committed after the cursor has passed its time.
    fail_run(version, projected_at=timezone.now() - timedelta(minutes=5))
    assert grow_incidents(tenant)[0].run_count == 3


def test_run_that_fails_again_after_a_reset_counts_once(tenant: Any) -> None:
    version = publish(tenant, CAPTURE)
    run = fail_run(version)
    grow_incidents(tenant)
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(ended_at=timezone.now(), projected_at=timezone.now())
    (incident,) = grow_incidents(tenant)
    assert (incident.run_count, IncidentFailure.objects.filter(incident=incident).count()) == (1, 2)


def test_one_tenant_does_not_see_failures_of_another(tenant: Any) -> None:
    other = make_tenant()
    for owner in (tenant, other):
        fail_run(publish(owner, CAPTURE))
    assert incidents_grow() >= 2
    for owner in (tenant, other):
        (incident,) = Incident.objects.filter(tenant=owner)
        assert (incident.number, incident.run_count) == (1, 1)


def test_statements_of_a_batch_do_not_depend_on_its_size(tenant: Any) -> None:
    """Compare a batch of 100 failures with a full one. So 10,000 failures are ten batches and a bounded number."""
    version = publish(tenant, CAPTURE)
    model = fail_run(version)
    at = timezone.now()
    with projection_writer("test"):
        Run.objects.bulk_create(_copies(model, at, 100 + grow.BATCH), batch_size=1_000)
    statements = []
    for size in (1, 100, grow.BATCH):  # the first failure creates the incident
        with CaptureQueriesContext(connection) as queries, tenant_scope(tenant.id):
            assert batch_grow(tenant_id=tenant.id, size=size) == size
        statements.append(len(queries))
    (incident,) = grow_incidents(tenant)
    assert incident.run_count == 1 + 100 + grow.BATCH
    assert statements[1] == statements[2] < 25


def _copies(model: Run, at: datetime, number: int) -> list[Run]:
    fields = {field.attname: getattr(model, field.attname) for field in Run._meta.concrete_fields}
    return [
        Run(**{**fields, "id": new_id(), "temporal_workflow_id": f"copy-{model.id}-{n}", "ended_at": at})
        for n in range(number)
    ]
