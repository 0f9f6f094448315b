"""Comparison of all runs and schedules at the request of an operator: progress, repair, and one at a time.

Source: docs/reference/authority.md#compare-all-now
"""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.api import Api
from tests.support.browser import waiting_run
from tests.support.factories import make_actor, make_run, make_token, publish
from tests.support.members import member_of
from tests.support.problems import MINUTE, ago
from tests.support.schedules import YEARLY
from tests.support.tenant_driver import TenantDriver
from workflows.errors import Conflict
from workflows.models import Command, Schedule
from workflows.projections.transaction import projection_writer
from workflows.services import comparison
from workflows.services.comparison import comparison_request, comparison_work, comparisons_left
from workflows.services.runs import reconcile
from workflows.services.schedules import reconcile as schedule_reconcile
from workflows.services.schedules.sync import Synced
from workflows.statuses import Role, ScheduleSync
from workflows.tasks import work_comparison
from workflows.temporal import gateway, schedules

pytestmark = pytest.mark.usefixtures("no_dispatcher")
ADDRESS, HEALTH = reverse("admin:compare"), reverse("admin:health")
LOST = {"temporal_first_run_id": "lost", "projected_at": ago(60 * MINUTE)}


def requested(tenant: Any) -> Command:
    return Command.objects.get(tenant=tenant, action="compare", code="")


def test_operator_compares_all_once_and_sees_what_differed(
    driver: TenantDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "QUIET_AFTER", timedelta(0))
    run = waiting_run(driver)
    with projection_writer("test"):
        type(run).objects.filter(id=run.id).update(status="STARTING", history_event_count=1)
    lost = make_run(driver.tenant, **LOST)
    state = {"id": "s", "type": "state.set", "config": {"state": "X"}}
    publish(driver.tenant, state, key="timed", trigger=YEARLY)
    schedule = Schedule.objects.get(tenant=driver.tenant)
    schedules.delete_schedule(schedule.temporal_schedule_id)
    client = member_of(driver.tenant, role="operator")
    assert "Compare all now</button>" in client.get(ADDRESS).content.decode()
    key = "0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a99"
    for _ in range(2):  # the second click has no effect of its own
        assert client.post(ADDRESS, {"idempotency_key": key}).status_code == 302
    assert "0 of 2 open runs and 0 schedules compared" in client.get(HEALTH).content.decode()
    assert "Compare all now</button>" not in client.get(ADDRESS).content.decode()
    assert "COMPARISON_RUNNING" in client.post(ADDRESS, {}, follow=True).content.decode()
    command = requested(driver.tenant)
    work_comparison(str(command.id))
    command.refresh_from_db()
    assert command.state == "observed"
    page = client.get(HEALTH).content.decode()
    assert "Last comparison of all." in page
    assert "2 of 2 open runs and 1 schedule compared. 3 differed." in page
    for row in (run, lost, schedule):
        row.refresh_from_db()
    assert (run.status, bool(lost.drift_found_at)) == ("WAITING", True)
    assert schedule.drift["message"] == "it was deleted in Temporal"
    assert comparison_request(actor=driver.actor).state == "accepted"  # the first comparison is done


def test_api_requests_a_comparison_once_and_returns_its_progress(tenant: Any) -> None:
    operator, viewer = Api(make_token(tenant)), Api(make_token(tenant, Role.VIEWER))
    assert viewer.get("/comparison").json() == {"newest": None}
    make_run(tenant, **LOST)
    refused = viewer.post("/comparison", {"reason": "restore"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert operator.post("/comparison", {"why": "restore"}).status_code == 400
    sent = [operator.post("/comparison", {"reason": "restore"}, **{"Idempotency-Key": "c-1"}) for _ in range(2)]
    assert [response.status_code for response in sent] == [202, 202]
    assert sent[0].json() == sent[1].json() == viewer.get("/comparison").json()["newest"]
    shown = sent[0].json()
    assert (shown["state"], shown["runs"], shown["compared"], shown["reason"]) == ("accepted", 1, 0, "restore")
    running = operator.post("/comparison", {})
    assert (running.status_code, running.json()["error"]["code"]) == (409, "COMPARISON_RUNNING")
    while comparison_work(command_id=shown["command_id"]):
        pass
    done = viewer.get("/comparison").json()["newest"]
    assert (done["state"], done["compared"], done["different"], done["not_compared"]) == ("observed", 1, 1, 0)


def test_slices_continue_at_their_position_and_a_second_worker_stops(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        make_run(tenant, **LOST)
    command = comparison_request(actor=make_actor(tenant))
    monkeypatch.setattr(comparison, "SLICE_SECONDS", 0)  # one run
    compared = []
    while comparison_work(command_id=command.id):
        compared.append(requested(tenant).details["compared"])
    assert compared == [1, 2, 3]
    done = requested(tenant)
    assert (done.state, done.details["different"]) == ("observed", 3)
    assert not comparison_work(command_id=command.id)

    later = comparison_request(actor=make_actor(tenant))

    def other_worker(*args: Any) -> bool:
        Command.objects.filter(id=later.id).update(details={**later.details, "compared": 7, "at": "2026"})
        return False

    monkeypatch.setattr(comparison, "_runs", other_worker)
    assert not comparison_work(command_id=later.id)
    later.refresh_from_db()
    assert (later.state, later.details["compared"]) == ("accepted", 7)


def test_comparison_without_a_worker_is_found_and_a_failed_one_says_why(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tenant, **LOST)
    command = comparison_request(actor=make_actor(tenant))
    assert command.id not in comparisons_left()
    with pytest.raises(Conflict, match="an earlier comparison is not done"):
        comparison_request(actor=make_actor(tenant))
    old = (timezone.now() - timedelta(seconds=61)).isoformat()
    Command.objects.filter(id=command.id).update(details={**command.details, "at": old})
    assert command.id in comparisons_left()

    def unreachable(**ignored: Any) -> Any:
        raise gateway.TemporalUnreachable("connection refused")

    monkeypatch.setattr(gateway, "describe_run", unreachable)
    assert not comparison_work(command_id=command.id)
    page = member_of(tenant, role="viewer").get(HEALTH).content.decode()
    assert "The last comparison of all stopped." in page
    assert "Temporal does not respond: connection refused" in page
    assert ADDRESS not in page  # a viewer may not compare


def test_each_schedule_is_compared_once_and_one_that_fails_does_not_keep_the_comparison_open(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {"id": "s", "type": "state.set", "config": {"state": "X"}}
    for number in range(5):
        publish(tenant, state, key=f"timed-{number}", trigger=YEARLY)
    failing = Schedule.objects.filter(tenant=tenant).order_by("id")[1].id

    def sync(*, schedule_id: Any, is_dry_run: bool) -> Synced:
        if schedule_id == failing:
            raise RuntimeError("a bug of the portal")
        Schedule.objects.filter(id=schedule_id).update(last_synced_at=timezone.now())
        return Synced(schedule_id, ScheduleSync.EQUAL)

    monkeypatch.setattr(schedule_reconcile, "schedule_sync", sync)
    monkeypatch.setattr(comparison, "PAGE", 3)
    Schedule.objects.filter(tenant=tenant).update(last_synced_at=None)
    command = comparison_request(actor=make_actor(tenant))
    slices = 0
    while comparison_work(command_id=command.id):
        slices += 1
        assert slices < 20, "the comparison does not end"
    done = requested(tenant)
    assert (done.state, done.details["schedules"], done.details["notCompared"]) == ("observed", 4, 1)
