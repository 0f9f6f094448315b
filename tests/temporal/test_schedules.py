"""Schedules on a real Temporal server: starts, metadata, changes made directly in Temporal, and outages."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.urls import reverse
from django.utils import timezone
from temporalio.api.enums.v1 import ScheduleOverlapPolicy
from temporalio.api.workflowservice.v1 import UpdateScheduleRequest

from tests.support.factories import eventually, expr, make_actor, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.schedules import EVERY_MINUTE, YEARLY, fire_every_second
from tests.support.tenant_driver import TenantDriver
from workflows.engine.clock import parse_moment
from workflows.engine.cron import cron_times, parse_cron
from workflows.models import Definition, EventDelivery, Run, Schedule, ScheduleOccurrence
from workflows.selectors.dashboard import dashboard_numbers
from workflows.services.definitions.changes import definition_followed_up
from workflows.services.definitions.pause import definition_pause, definition_resume
from workflows.services.schedules.control import schedule_trigger
from workflows.services.schedules.edit import schedule_update
from workflows.services.schedules.reconcile import schedules_reconcile
from workflows.services.schedules.selectors import schedule_next_times
from workflows.services.schedules.sync import schedule_sync, wanted_schedule
from workflows.temporal import connection, schedules

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}


def schedule_of(tenant: Any) -> Schedule:
    return Schedule.objects.get(tenant=tenant, removed_at__isnull=True)


def problems_of(tenant: Any) -> dict[str, Any]:
    """Return the problems that the dashboard shows, by name."""
    found = dashboard_numbers(tenant_id=tenant.id).problems
    return {name: problem for name, problem in found.items() if problem.count}


def runs_of(tenant: Any, count: int) -> list[Run]:
    """Wait until this number of runs has succeeded, and return the runs in the order of their start."""

    def enough() -> list[Run]:
        found = list(Run.objects.filter(tenant=tenant, status="SUCCEEDED").order_by("created_at"))
        return found if len(found) >= count else []

    return eventually(enough, what=f"{count} runs have succeeded")


def test_recurring_trigger_starts_runs_with_their_scheduled_and_real_times(
    driver: TenantDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire_every_second(monkeypatch)
    publish(driver.tenant, STATE, trigger=EVERY_MINUTE)
    runs = runs_of(driver.tenant, 3)
    definition_pause(actor=driver.actor, key="flow", reason="enough")
    schedule = schedule_of(driver.tenant)
    for run in runs:
        facts = run.trigger_metadata
        assert (run.trigger_type, facts["scheduleId"], facts["cause"]) == ("recurring", str(schedule.id), "scheduled")
        assert parse_moment(facts["scheduledAt"]) <= parse_moment(facts["firedAt"]) <= parse_moment(facts["startedAt"])
    assert len({run.trigger_metadata["scheduledAt"] for run in runs}) == len(runs)
    assert (schedule.sync_error, schedule.last_error) == (None, None)
    accepted = ScheduleOccurrence.objects.filter(schedule=schedule, status="accepted")

    def every_occurrence_has_a_run_or_is_held() -> bool:
        held = EventDelivery.objects.filter(tenant=driver.tenant, held_since__isnull=False)
        return Run.objects.filter(tenant=driver.tenant).count() + held.count() == accepted.count()

    eventually(every_occurrence_has_a_run_or_is_held, what="each occurrence has one run, or the pause holds it")


def test_buffered_start_waits_until_the_earlier_run_has_ended(driver: TenantDriver) -> None:
    publish(driver.tenant, wait_for_reply(), trigger=YEARLY)
    changes = {"overlap": "buffer_all", "payload": {"ticketId": expr("schedule.name")}}
    schedule = schedule_update(actor=driver.actor, schedule_id=schedule_of(driver.tenant).id, changes=changes)
    first, second = (schedule_trigger(actor=driver.actor, schedule_id=schedule.id) for _ in range(2))
    run = driver.wait_for_run("WAITING", event=first.event)
    held = EventDelivery.objects.filter(event=second.event, held_since__isnull=False)
    why = "earlier run of the schedule trigger is still open"
    eventually(held.filter(reason__contains=why).exists, what="the second start waits for the end of the first run")
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "trigger"})
    driver.wait_for_run("SUCCEEDED", id=run.id)
    driver.wait_for_run("WAITING", event=second.event)


def test_one_time_trigger_starts_one_run(driver: TenantDriver) -> None:
    at = (timezone.now() + timedelta(seconds=3)).replace(microsecond=0)
    publish(driver.tenant, STATE, trigger={"type": "schedule", "runAt": at.isoformat()})
    (run,) = runs_of(driver.tenant, 1)
    assert (run.trigger_type, parse_moment(run.trigger_metadata["scheduledAt"])) == ("schedule", at.timestamp() * 1000)
    schedule = schedule_of(driver.tenant)
    assert (schedule.last_run_at, schedule.next_run_at, schedule.last_error) == (at, None, None)
    assert schedule_sync(schedule_id=schedule.id).outcome == "equal"
    schedules.delete_schedule(schedule.temporal_schedule_id)  # as Temporal does after some days
    assert schedule_sync(schedule_id=schedule.id).outcome == "equal"


def test_one_time_trigger_in_the_past_starts_nothing_and_says_so(tenant: Any) -> None:
    publish(tenant, STATE, trigger={"type": "schedule", "runAt": "2020-01-01T00:00:00Z"})
    schedule = schedule_of(tenant)
    assert (schedule.last_error["code"], schedule.next_run_at) == ("SCHEDULE_TIME_PAST", None)
    assert schedules.describe_schedule(schedule.temporal_schedule_id) is None


def seen_of(schedule: Schedule) -> schedules.SeenSchedule:
    seen = schedules.describe_schedule(schedule.temporal_schedule_id)
    assert seen is not None
    return seen


def test_schedule_follows_its_definition(tenant: Any) -> None:
    version = publish(tenant, STATE, trigger=YEARLY)
    schedule = schedule_of(tenant)
    actor = make_actor(tenant)
    policies = seen_of(schedule).description.schedule.policies
    assert policies.overlap_policy == ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL
    assert policies.catchup_window.seconds == 3600
    assert seen_of(schedule).description.schedule.spec.timezone_name == "Europe/Berlin"
    definition_pause(actor=actor, key="flow", reason="a secret reason")
    state = seen_of(schedule).description.schedule.state
    assert (state.paused, state.notes) == (True, "The definition is paused.")
    definition_resume(actor=actor, key="flow", reason="over")
    assert not seen_of(schedule).description.schedule.state.paused
    publish(tenant, STATE, trigger={**YEARLY, "cron": "0 9 * * 1-5"})
    schedule.refresh_from_db()
    assert schedule.cron == "0 9 * * 1-5"
    assert seen_of(schedule).next_times[0].astimezone(ZoneInfo("Europe/Berlin")).hour == 9
    publish(tenant, {**STATE, "id": "t"})
    assert not Schedule.objects.filter(definition=version.definition, removed_at__isnull=True).exists()
    assert schedules.describe_schedule(schedule.temporal_schedule_id) is None


def test_schedules_of_a_deleted_definition_are_deleted(tenant: Any) -> None:
    publish(tenant, STATE, trigger=YEARLY)
    schedule = schedule_of(tenant)
    Definition.objects.filter(tenant=tenant).update(deleted_at=timezone.now())
    definition_followed_up(tenant_id=tenant.id, definition_id=schedule.definition_id)
    schedule.refresh_from_db()
    assert schedule.removed_at is not None
    assert schedules.describe_schedule(schedule.temporal_schedule_id) is None
    assert schedules_reconcile(tenant_id=tenant.id).counts == {}


def change_pause(has: Any) -> None:
    has.state.paused, has.state.notes = True, "an operator in Temporal's UI"


def change_times(has: Any) -> None:
    has.spec.structured_calendar[0].hour[0].end = 5


def change_policies(has: Any) -> None:
    has.policies.overlap_policy = 1


def change_workflow(has: Any) -> None:
    has.action.start_workflow.workflow_type.name = "another"


def change_input(has: Any) -> None:
    has.action.start_workflow.input.payloads[0].data = b"{}"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (change_pause, "its pause"),
        (change_times, "its times"),
        (change_policies, "its policies"),
        (change_workflow, "its workflow"),
        (change_input, "its workflow"),
    ],
)
def test_change_made_in_temporal_is_reversed_and_shown(tenant: Any, change: Callable[[Any], None], what: str) -> None:
    publish(tenant, STATE, trigger=YEARLY)
    schedule = schedule_of(tenant)

    async def edit(client: Any) -> None:
        has = await client.get_schedule_handle(schedule.temporal_schedule_id).describe()
        change(has.raw_description.schedule)
        await client.workflow_service.update_schedule(
            UpdateScheduleRequest(
                namespace=client.namespace,
                schedule_id=schedule.temporal_schedule_id,
                schedule=has.raw_description.schedule,
            )
        )

    connection.call_repeatable(edit)
    assert what in schedule_next_times(schedule).difference  # the page of the schedule says so at once
    assert schedule_sync(schedule_id=schedule.id, is_dry_run=True).outcome == "restored"
    report = schedules_reconcile(tenant_id=tenant.id)
    assert report.counts == {"restored": 1}
    schedule.refresh_from_db()
    assert what in schedule.drift["message"]
    assert schedules.schedule_differences(wanted_schedule(schedule), seen_of(schedule)) == []
    assert schedules_reconcile(tenant_id=tenant.id).counts == {"equal": 1}


def test_schedule_deleted_in_temporal_is_restored_and_unknown_one_is_reported(tenant: Any) -> None:
    publish(tenant, STATE, trigger=YEARLY)
    schedule = schedule_of(tenant)
    schedules.delete_schedule(schedule.temporal_schedule_id)
    client = member_of(tenant, role="viewer")
    page = client.get(reverse("admin:workflows_schedule_change", args=[schedule.id])).content.decode()
    assert "Temporal does not have this schedule. The reconciler restores it" in page
    assert "Not in Temporal</span>" in page
    assert "schedules" not in problems_of(tenant)
    assert schedule_sync(schedule_id=schedule.id).outcome == "restored"
    assert problems_of(tenant)["schedules"].first["why"] == "it was deleted in Temporal"
    schedule.refresh_from_db()
    assert schedule.drift["message"] == "it was deleted in Temporal"
    assert seen_of(schedule).next_times
    ScheduleOccurrence.objects.filter(schedule=schedule).delete()
    Schedule.objects.filter(id=schedule.id).delete()  # as after a restore of an older backup
    assert eventually(lambda: schedules_reconcile().counts["without row"], what="the unknown schedule is reported") >= 1
    schedules.delete_schedule(schedule.temporal_schedule_id)


def test_publication_during_an_outage_is_repaired_later(
    tenant: Any, kill_temporal: Callable[[], None], restart_temporal: Callable[[], None]
) -> None:
    kill_temporal()
    publish(tenant, STATE, trigger=YEARLY)
    schedule = schedule_of(tenant)
    assert schedule.sync_error["code"] == "TEMPORAL_UNAVAILABLE"
    assert "Temporal does not respond" in schedules_reconcile(tenant_id=tenant.id).problem
    restart_temporal()
    assert schedules_reconcile(tenant_id=tenant.id).counts == {"created": 1}
    schedule.refresh_from_db()
    assert (schedule.sync_error, seen_of(schedule).target.schedule_id) == (None, str(schedule.id))


def test_trigger_row_lost_by_a_crash_is_written_by_the_reconciler(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.services.definitions.changes.schedules_follow", lambda **_: None)
    publish(tenant, STATE, trigger=YEARLY)
    assert not Schedule.objects.filter(tenant=tenant).exists()
    assert schedules_reconcile(tenant_id=tenant.id).counts == {"created": 1}


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("30 2 * * *", "Europe/Berlin"),
        ("*/20 0-4 * * *", "Europe/London"),
        ("15 1-2 * * *", "America/New_York"),
        ("10,40 1-2 * * *", "Australia/Lord_Howe"),
        ("0 0 * * *", "America/Sao_Paulo"),
        ("59 23 29 2 *", "UTC"),
        ("0 9 13 * 5", "Asia/Kolkata"),
        ("5/25 * 1-7 * 1,5-7", "Pacific/Auckland"),
    ],
)
def test_computed_times_are_those_of_temporal(tenant: Any, cron: str, zone: str) -> None:
    publish(tenant, STATE, trigger={"type": "recurring", "cron": cron, "timezone": zone})
    schedule = schedule_of(tenant)
    assert schedules.schedule_differences(wanted_schedule(schedule), seen_of(schedule)) == []
    for month in (3, 9, 10, 11):
        after, until = datetime(2027, month, 1, tzinfo=UTC), datetime(2027, month + 1, 15, tzinfo=UTC)
        found = schedules.schedule_times(schedule.temporal_schedule_id, after=after, until=until)
        computed = list(islice(cron_times(parse_cron(cron), ZoneInfo(zone), after=after), len(found) + 1))
        assert [at for at in computed if at <= until] == found
    schedules.delete_schedule(schedule.temporal_schedule_id)
