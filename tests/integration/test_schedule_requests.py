"""Requests about schedules: fields, times, pause, start by hand, backfill, business days and overlap."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import expr, make_actor, make_run, make_tenant, make_token, publish
from workflows.errors import Conflict, InputInvalid
from workflows.models import Command, Definition, Event, EventDelivery, Schedule, ScheduleOccurrence, Tenant
from workflows.services.command_reconcile import DECIDERS
from workflows.services.schedules import control, sync
from workflows.services.schedules.calendars import calendar_delete, calendar_save
from workflows.services.schedules.edit import schedule_create, schedule_update
from workflows.services.schedules.field_checks import ScheduleFields
from workflows.services.schedules.fire import schedule_fire
from workflows.services.schedules.reconcile import schedules_reconcile
from workflows.services.schedules.selectors import schedule_next_times
from workflows.services.schedules.times import next_times
from workflows.services.schemas import schema_save
from workflows.statuses import CommandAction, Role
from workflows.temporal import schedules

pytestmark = pytest.mark.usefixtures("no_dispatcher")

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}
YEARLY = {"name": "yearly", "cron": "0 0 1 1 *", "time_zone": "UTC"}


def add(tenant: Any, **fields: Any) -> Schedule:
    if not Definition.objects.filter(tenant=tenant, key="flow").exists():
        publish(tenant, STATE)
    given = ScheduleFields(**{**YEARLY, **fields})
    return schedule_create(actor=make_actor(tenant), definition_key="flow", fields=given)


def fire(schedule: Schedule, at: str | datetime) -> ScheduleOccurrence:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC) if isinstance(at, str) else at
    occurrence = schedule_fire(tenant_id=schedule.tenant_id, schedule_id=schedule.id, scheduled_at=moment)
    assert occurrence is not None
    return occurrence


# -- Fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": ""}, "name"),
        ({"name": "trigger"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"cron": ""}, "cron"),
        ({"run_at": "2030-01-01T00:00:00Z"}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": 5}, "cron"),
        ({"cron": "\ud800"}, "cron"),
        ({"time_zone": "\ud800"}, "time_zone"),
        ({"calendar": "\ud800", "only_business_days": True}, "calendar"),
        ({"time_zone": "Europe/Berln"}, "time_zone"),
        ({"cron": "", "run_at": "tomorrow"}, "run_at"),
        ({"cron": "", "run_at": "2030-01-01T00:00:00"}, "run_at"),
        ({"cron": "", "run_at": 1900000000}, "run_at"),
        ({"payload": []}, "payload"),
        ({"payload": {"a": expr("schedule.nothing")}}, "payload"),
        ({"payload": {"a": "\u0000"}}, "payload"),
        ({"overlap": "sometimes"}, "overlap"),
        ({"catch_up_seconds": 5}, "catch_up_seconds"),
        ({"catch_up_seconds": True}, "catch_up_seconds"),
        ({"only_business_days": "yes"}, "only_business_days"),
        ({"calendar": "none", "only_business_days": True}, "calendar"),
    ],
)
def test_invalid_field_is_refused_with_its_path_and_nothing_is_stored(
    tenant: Any, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(InputInvalid) as refused:
        add(tenant, **fields)
    assert refused.value.code == "SCHEDULE_INVALID"
    assert [problem["path"] for problem in refused.value.details["problems"]] == [path]
    assert not Schedule.objects.filter(tenant=tenant).exists()
    assert Command.objects.get(tenant=tenant, action=CommandAction.EDIT_SCHEDULE).state == "refused"


def test_payload_must_fit_the_schema_of_the_published_version(tenant: Any) -> None:
    schema = {"type": "object", "required": ["day"], "properties": {"day": {"type": "string"}}}
    schema_save(actor=make_actor(tenant), ref="day.v1", schema=schema)
    publish(tenant, STATE, payloadSchemaRef="day.v1")
    with pytest.raises(InputInvalid) as refused:
        add(tenant, payload={})
    assert "day.v1" in refused.value.message
    schedule = add(tenant, payload={"day": expr("schedule.scheduledAt")})
    occurrence = fire(schedule, "2027-01-01T00:00")
    assert occurrence.event.payload == {"day": "2027-01-01T00:00:00.000Z"}


# -- Requests over the API ---------------------------------------------------------------------------------------------


def test_life_of_a_schedule_over_the_api(tenant: Any) -> None:
    publish(tenant, STATE)
    api = Api(make_token(tenant, Role.AUTHOR))

    new = {"definition": "flow", "name": "daily", "cron": "30 2 * * *", "time_zone": "Europe/Berlin"}
    created = api.post("/schedules", new, **{"Idempotency-Key": "k1"})
    assert created.status_code == 201, created.content
    shown = created.json()
    assert (shown["times_from"], len(shown["next_times"]), shown["sync_error"]) == ("temporal", 10, None)
    assert api.post("/schedules", new, **{"Idempotency-Key": "k1"}).json()["id"] == shown["id"]
    assert error_of(api.post("/schedules", new), 400)["code"] == "SCHEDULE_INVALID"  # the name is taken
    path = f"/schedules/{shown['id']}"
    preview = api.post("/schedules/preview", {"cron": "0 9 13 * 5", "time_zone": "UTC"}).json()
    assert ("AND" in preview["warnings"][0], preview["times_from"]) == (True, "portal")
    assert api.patch(path, {"cron": "0 9 13 * 5"}).json()["warnings"] == preview["warnings"]
    assert error_of(api.patch(path, {"crom": "x"}), 400)["details"]["problems"][0]["path"] == "crom"
    paused = api.post(f"{path}/pause", {"reason": "a test"}).json()
    assert (paused["is_paused"], paused["paused_reason"]) == (True, "a test")
    seen = schedules.describe_schedule(shown["temporal_schedule_id"])
    assert seen is not None
    assert seen.description.schedule.state.paused
    assert error_of(api.post(f"{path}/pause", {"reason": "again"}), 409)["code"] == "SCHEDULE_PAUSED"
    assert not api.post(f"{path}/resume", {}).json()["is_paused"]
    started = api.post(f"{path}/trigger", {"reason": "now"}, **{"Idempotency-Key": "k2"})
    assert (started.status_code, started.json()["cause"], started.json()["state"]) == (202, "triggered", "pending")
    assert (
        api.post(f"{path}/trigger", {"reason": "now"}, **{"Idempotency-Key": "k2"}).json()["id"] == started.json()["id"]
    )
    assert [row["id"] for row in api.get(f"{path}/occurrences").json()["results"]] == [started.json()["id"]]
    assert [row["name"] for row in api.get("/schedules").json()["results"]] == ["daily"]
    assert api.delete(path).status_code == 204
    assert error_of(api.get(path), 404)["code"] == "SCHEDULE_NOT_FOUND"
    assert schedules.describe_schedule(shown["temporal_schedule_id"]) is None
    changes = Command.objects.filter(tenant=tenant, target_id=shown["id"], code="").order_by("requested_at")
    assert {command.state for command in changes} == {"observed"}
    assert set(changes.values_list("action", flat=True)) <= {str(action) for action in DECIDERS}


def test_times_of_a_trigger_are_changed_only_by_the_definition(tenant: Any) -> None:
    publish(tenant, STATE, trigger={"type": "recurring", "cron": "0 0 1 1 *", "timezone": "UTC"})
    schedule = Schedule.objects.get(tenant=tenant)
    actor = make_actor(tenant)
    with pytest.raises(InputInvalid, match="comes from the trigger"):
        schedule_update(actor=actor, schedule_id=schedule.id, changes={"cron": "0 0 * * *"})
    changed = schedule_update(actor=actor, schedule_id=schedule.id, changes={"catch_up_seconds": 60, "overlap": "skip"})
    assert (changed.catch_up_seconds, changed.overlap, changed.cron) == (60, "skip", "0 0 1 1 *")
    seen = schedules.describe_schedule(schedule.temporal_schedule_id)
    assert seen is not None
    assert seen.description.schedule.policies.catchup_window.seconds == 60
    api = Api(make_token(tenant, Role.AUTHOR))
    assert error_of(api.delete(f"/schedules/{schedule.id}"), 409)["code"] == "SCHEDULE_OF_TRIGGER"


# -- Occurrences -------------------------------------------------------------------------------------------------------


def test_one_occurrence_has_one_event_and_one_delivery(tenant: Any) -> None:
    schedule = add(tenant)
    first, again = fire(schedule, "2027-01-01T00:00"), fire(schedule, "2027-01-01T00:00")
    assert (first.id, first.status) == (again.id, "accepted")
    event = Event.objects.get(tenant=tenant)
    assert (event.source, event.event_type, event.outcome) == ("schedule", "pointsman.schedule", "routing")
    assert EventDelivery.objects.get(tenant=tenant).definition_id == schedule.definition_id


def test_occurrence_that_starts_no_run_says_why(tenant: Any) -> None:
    schedule = add(tenant)
    Schedule.objects.filter(id=schedule.id).update(is_paused=True, paused_reason="a test")
    assert (fire(schedule, "2027-01-01T00:00").code, Event.objects.filter(tenant=tenant).count()) == (
        "SCHEDULE_PAUSED", 0,
    )  # fmt: skip
    Schedule.objects.filter(id=schedule.id).update(is_paused=False, payload={"a": expr("schedule.nothing")})
    failed = fire(schedule, "2028-01-01T00:00")
    schedule.refresh_from_db()
    assert (failed.status, schedule.last_error["message"]) == ("failed", failed.reason)
    Schedule.objects.filter(id=schedule.id).update(payload={})
    fire(schedule, "2029-01-01T00:00")
    schedule.refresh_from_db()
    assert schedule.last_error is None


def test_business_days_use_the_calendar_and_the_time_zone(tenant: Any) -> None:
    actor = make_actor(tenant)
    calendar = calendar_save(actor=actor, name="US", weekend=[6, 7], holidays={"2027-01-01": "New Year"})
    schedule = add(tenant, cron="0 20 * * *", time_zone="America/New_York", only_business_days=True, calendar="US")
    reasons = {
        "2026-12-31T01:00": "",
        "2027-01-02T01:00": "2027-01-01 is New Year in the calendar US",  # 1 January in New York
        "2027-01-03T01:00": "2027-01-02 is a Saturday",
    }
    for at, reason in reasons.items():
        assert fire(schedule, at).reason == reason
    assert ScheduleOccurrence.objects.filter(schedule=schedule, code="NOT_A_BUSINESS_DAY").count() == 2
    shown = next_times(schedule, now=datetime(2026, 12, 31, 12, tzinfo=UTC))
    assert [bool(found.closed) for found in shown[:5]] == [False, True, True, True, False]
    with pytest.raises(Conflict) as refused:
        calendar_delete(actor=actor, calendar_id=calendar.id)
    assert refused.value.code == "CALENDAR_IN_USE"


@pytest.mark.parametrize(
    ("overlap", "statuses"),
    [("allow_all", ["accepted"] * 3), ("skip", ["accepted", "skipped", "skipped"]),
     ("buffer_one", ["accepted", "skipped", "skipped"]), ("buffer_all", ["accepted"] * 3)],
)  # fmt: skip
def test_overlap_policy_sees_starts_that_wait(tenant: Any, overlap: str, statuses: list[str]) -> None:
    schedule = add(tenant, overlap=overlap)
    found = [fire(schedule, f"20{year}-01-01T00:00").status for year in (27, 28, 29)]
    assert found == statuses


def test_overlap_policy_sees_open_runs_of_this_schedule_only(tenant: Any) -> None:
    schedule = add(tenant, overlap="skip")
    version = schedule.definition.published_version
    make_run(tenant, definition_version=version)  # a run that the schedule did not start
    first = fire(schedule, "2027-01-01T00:00")
    EventDelivery.objects.filter(tenant=tenant).update(status="started")
    run = make_run(tenant, definition_version=version, event=first.event)
    assert fire(schedule, "2028-01-01T00:00").code == "SCHEDULE_OVERLAP"
    assert run.status == "WAITING"


def test_start_by_hand_of_a_paused_definition_is_refused(tenant: Any) -> None:
    schedule = add(tenant)
    Definition.objects.filter(tenant=tenant).update(is_paused=True)
    with pytest.raises(Conflict) as refused:
        control.schedule_trigger(actor=make_actor(tenant), schedule_id=schedule.id)
    assert (refused.value.code, ScheduleOccurrence.objects.filter(schedule=schedule).exists()) == (
        "DEFINITION_PAUSED", False,
    )  # fmt: skip


# -- Backfill ----------------------------------------------------------------------------------------------------------


def test_backfill_starts_each_missing_time_once(tenant: Any) -> None:
    schedule = add(tenant, cron="0 0 * * *", only_business_days=True)
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
    fire(schedule, start)
    where = {"actor": make_actor(tenant), "schedule_id": schedule.id, "start": start, "end": end}
    plan = control.schedule_backfill_preview(**where)
    assert (len(plan.times), len(plan.starts), len(plan.closed)) == (7, 4, 2)
    assert control.schedule_backfill(**where, reason="an outage") == {"recorded": 1, "accepted": 4, "skipped": 2}
    assert control.schedule_backfill(**where, reason="again") == {"recorded": 7}
    assert EventDelivery.objects.filter(tenant=tenant).count() == 5
    causes = ScheduleOccurrence.objects.filter(schedule=schedule).values_list("cause", flat=True)
    assert sorted(causes) == ["backfill"] * 6 + ["scheduled"]


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        (timedelta(days=-1), timedelta(days=-2), "BACKFILL_INVALID"),
        (timedelta(days=-1), timedelta(days=1), "BACKFILL_INVALID"),
        (timedelta(days=-30), timedelta(days=-1), "BACKFILL_INVALID"),
        (timedelta(hours=-2), timedelta(hours=-1), "REASON_REQUIRED"),
    ],
)
def test_backfill_is_refused_and_nothing_is_stored(tenant: Any, start: timedelta, end: timedelta, code: str) -> None:
    schedule = add(tenant, cron="* * * * *")
    control.schedule_pause(actor=make_actor(tenant), schedule_id=schedule.id, reason="a test")
    now = timezone.now()
    with pytest.raises(InputInvalid) as refused:
        control.schedule_backfill(actor=make_actor(tenant), schedule_id=schedule.id, start=now + start, end=now + end)
    assert refused.value.code == code
    assert not ScheduleOccurrence.objects.filter(schedule=schedule).exists()


def test_backfill_of_times_whose_occurrences_retention_deleted_is_refused(tenant: Any) -> None:
    """A second run would start, because the portal no longer knows that the first one existed."""
    schedule, today = add(tenant, cron="0 0 * * *"), timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    old = today - timedelta(days=91)
    fire(schedule, old)
    ScheduleOccurrence.objects.filter(schedule=schedule).delete()
    given: dict[str, Any] = {"actor": make_actor(tenant), "schedule_id": schedule.id, "end": today, "reason": "again"}
    Schedule.objects.filter(id=schedule.id).update(created_at=old - timedelta(days=1))
    with pytest.raises(InputInvalid, match="times before .* Retention deletes older occurrences"):
        control.schedule_backfill(**given, start=old)
    assert not ScheduleOccurrence.objects.filter(schedule=schedule).exists()
    assert control.schedule_backfill(**given, start=today - timedelta(days=89))["accepted"] == 90


@pytest.mark.parametrize("is_dry_run", [True, False])
def test_backfill_from_the_first_year_of_the_calendar_is_refused(tenant: Any, is_dry_run: bool) -> None:
    path = f"/schedules/{add(tenant).id}/backfill"
    body = {"start": "0001-01-01T00:00:00Z", "end": "2026-01-01T00:00:00Z", "reason": "x", "dry_run": is_dry_run}
    assert error_of(Api(make_token(tenant, Role.ADMIN)).post(path, body), 400)["code"] == "BACKFILL_INVALID"


def test_definition_whose_key_is_half_of_a_surrogate_pair_does_not_exist(tenant: Any) -> None:
    body = {"definition": "\ud800", "name": "x", "cron": "0 0 * * *"}
    assert error_of(Api(make_token(tenant, Role.ADMIN)).post("/schedules", body), 404)["code"] == "DEFINITION_NOT_FOUND"


def test_one_actor_can_use_an_idempotency_key_in_two_tenants(tenant: Any) -> None:
    made = set()
    for owner in (tenant, make_tenant()):
        publish(owner, STATE)
        actor = replace(make_actor(owner), id="7")
        made.add(
            schedule_create(
                actor=actor, definition_key="flow", fields=ScheduleFields(**YEARLY), idempotency_key="k"
            ).tenant_id
        )
    assert len(made) == 2


def test_reconciler_removes_the_schedules_of_a_deleted_definition(tenant: Any) -> None:
    schedule = add(tenant)
    # The process that deleted the definition was killed after its commit.
    Definition.objects.filter(id=schedule.definition_id).update(deleted_at=timezone.now(), archived_at=timezone.now())
    schedules_reconcile(tenant_id=tenant.id)
    schedule.refresh_from_db()
    assert schedule.removed_at is not None
    assert schedules.describe_schedule(schedule.temporal_schedule_id) is None


def test_occurrences_that_retention_deleted_are_no_error(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporal lists the last ten occurrences of a schedule, also when retention has deleted their rows."""
    Tenant.objects.filter(id=tenant.id).update(event_retention_days=30)
    monthly, now = add(tenant, cron="0 0 1 * *"), timezone.now()
    recent = [now - timedelta(days=days) for days in (40, 20)]
    seen = schedules.describe_schedule(monthly.temporal_schedule_id)
    assert seen is not None
    fire(monthly, recent[1])
    monkeypatch.setattr(sync, "describe_schedule", lambda _: replace(seen, recent=recent))
    sync.schedule_sync(schedule_id=monthly.id)
    monthly.refresh_from_db()
    assert monthly.last_error is None
    ScheduleOccurrence.objects.filter(schedule=monthly).delete()
    sync.schedule_sync(schedule_id=monthly.id)
    monthly.refresh_from_db()
    assert (monthly.last_error or {}).get("code") == sync.NOT_RECORDED, "a young occurrence must have its row"

    monkeypatch.setattr(sync, "describe_schedule", lambda _: None)
    once = add(tenant, name="once", cron="", run_at=(now + timedelta(days=1)).isoformat())
    Schedule.objects.filter(id=once.id).update(run_at=now - timedelta(days=40), last_run_at=now - timedelta(days=40))
    sync.schedule_sync(schedule_id=once.id)
    once.refresh_from_db()
    assert once.last_error is None


# -- Times -------------------------------------------------------------------------------------------------------------


def test_next_times_mark_clock_changes() -> None:
    schedule = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    spring = next_times(schedule, now=datetime(2027, 3, 26, 12, tzinfo=UTC))
    assert [found.local.day for found in spring[:3]] == [27, 29, 30]
    assert [bool(found.clock_change) for found in spring[:3]] == [False, True, False]
    assert "from UTC+01:00 to UTC+02:00" in spring[1].clock_change
    assert "2027-03-28 02:30 does not exist" in spring[1].clock_change
    autumn = next_times(schedule, now=datetime(2027, 10, 30, 12, tzinfo=UTC))
    assert "from UTC+02:00 to UTC+01:00" in autumn[0].clock_change
    twice = next_times(
        Schedule(cron="30 1 * * *", time_zone="America/New_York"), now=datetime(2027, 11, 7, 0, tzinfo=UTC)
    )
    assert "01:30 occurs twice" in twice[0].clock_change


def test_next_times_are_computed_while_temporal_has_no_schedule(tenant: Any) -> None:
    schedule = add(tenant, cron="0 9 * * 1-5")
    schedules.delete_schedule(schedule.temporal_schedule_id)
    found = schedule_next_times(schedule)
    assert (found.source, len(found.times)) == ("portal", 10)
