"""Pages of schedules and holiday calendars: add with a preview, change, pause, start now, backfill."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tests.support.factories import make_actor, publish
from tests.support.members import member_of
from workflows.models import HolidayCalendar, Schedule, ScheduleOccurrence
from workflows.services.schedules.edit import schedule_create
from workflows.services.schedules.field_checks import ScheduleFields

pytestmark = pytest.mark.usefixtures("no_dispatcher")

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}
FIELDS = {
    "definition": "flow", "name": "nightly", "cron": "30 2 * * *", "run_at": "", "time_zone": "Europe/Berlin",
    "payload": "{}", "overlap": "skip", "catch_up_seconds": "600", "calendar": "",
}  # fmt: skip


@pytest.fixture
def schedule(tenant: Any) -> Schedule:
    publish(tenant, STATE)
    fields = ScheduleFields(name="yearly", cron="0 0 1 1 *", payload={"note": "hush-value"})
    return schedule_create(actor=make_actor(tenant), definition_key="flow", fields=fields)


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:workflows_schedule_{name}", args=args)


def test_schedule_is_added_after_a_preview(tenant: Any) -> None:
    publish(tenant, STATE)
    author = member_of(tenant, role="author")
    page = author.post(url("add"), {**FIELDS, "preview": "yes"}).content.decode()
    assert "Nothing is saved yet." in page
    assert page.count(", 02:30 CE") == 10
    assert not Schedule.objects.filter(tenant=tenant).exists()
    refused = author.post(url("add"), {**FIELDS, "cron": "61 2 * * *", "preview": "yes"}).content.decode()
    assert "is outside 0 to 59" in refused
    wrong = author.post(url("add"), {**FIELDS, "cron": "61 2 * * *"}).content.decode()
    assert "61" in wrong
    assert "is outside 0 to 59" in wrong
    assert 'value="nightly"' in wrong
    refused = author.post(url("add"), {**FIELDS, "time_zone": "Berlin", "preview": "yes"})
    assert refused.status_code == 200
    assert "did you mean &#x27;Europe/Berlin&#x27;?" in refused.content.decode()
    past = {**FIELDS, "cron": "", "run_at": "2020-01-01T00:00:00Z", "preview": "yes"}
    assert "The time is in the past" in author.post(url("add"), past).content.decode()
    assert author.post(url("add"), FIELDS).status_code == 302
    saved = Schedule.objects.get(tenant=tenant)
    assert (saved.overlap, saved.catch_up_seconds, saved.sync_error) == ("skip", 600, None)
    warned = author.post(url("change", saved.id), {**FIELDS, "cron": "0 9 13 * 5"}, follow=True).content.decode()
    assert "combines the two fields with AND" in warned


def test_page_shows_times_occurrences_and_errors_and_hides_the_payload_from_viewers(schedule: Schedule) -> None:
    ScheduleOccurrence.objects.create(
        tenant=schedule.tenant, schedule=schedule, scheduled_at=schedule.created_at, cause="scheduled", overlap="skip",
        status="skipped", reason="2027-01-01 is New Year",
    )  # fmt: skip
    Schedule.objects.filter(id=schedule.id).update(
        drift={"at": "2026-11-29T08:00:00Z", "message": "changed in Temporal: its pause"},
        last_error={"at": "x", "scheduledAt": "y", "code": "PAYLOAD_INVALID", "message": "no day"},
    )
    viewer = member_of(schedule.tenant, role="viewer")
    with CaptureQueriesContext(connection) as queries:
        page = viewer.get(url("change", schedule.id)).content.decode()
    for text in (
        "These are Temporal's own times",
        "2027-01-01 is New Year",
        "changed in Temporal: its pause",
        "PAYLOAD_INVALID",
    ):
        assert text in page, text
    assert "hush-value" not in page
    assert len([q for q in queries if "SAVEPOINT" not in q["sql"]]) <= 12
    assert "Failing</span>" in viewer.get(url("changelist")).content.decode()
    definition = reverse("admin:workflows_definition_change", args=[schedule.definition_id])
    assert url("change", schedule.id) in viewer.get(f"{definition}?tab=starts").content.decode()


def test_steps_of_a_schedule(schedule: Schedule) -> None:
    author = member_of(schedule.tenant, role="author")
    assert b"This field is required" in author.post(url("pause", schedule.id), {"reason": ""}).content
    assert author.post(url("pause", schedule.id), {"reason": "a test"}).status_code == 302
    assert "Paused: <bdi>a test.</bdi>" in author.get(url("change", schedule.id)).content.decode()
    refused = author.post(url("pause", schedule.id), {"reason": "again"}).content.decode()
    assert "SCHEDULE_PAUSED" in refused
    assert author.post(url("resume", schedule.id), {"reason": ""}).status_code == 302
    assert author.post(url("trigger", schedule.id), {"reason": "now"}).status_code == 302
    assert ScheduleOccurrence.objects.get(schedule=schedule).cause == "triggered"
    past = {"start": "2020-06-01 00:00", "end": "2023-06-01 00:00", "overlap": "buffer_all", "reason": "an outage"}
    preview = author.post(url("backfill", schedule.id), past).content.decode()
    assert "Start 3 runs" in preview
    assert ScheduleOccurrence.objects.filter(schedule=schedule).count() == 1
    done = author.post(url("backfill", schedule.id), {**past, "confirmed": "yes"}, follow=True).content.decode()
    assert "3 accepted" in done
    assert author.post(url("delete", schedule.id), {}).status_code == 302
    assert author.get(url("change", schedule.id)).status_code == 404


def test_holiday_calendar_is_added_and_changed(tenant: Any) -> None:
    author = member_of(tenant, role="author")
    add = reverse("admin:workflows_holidaycalendar_add")
    new = {"name": "DE", "weekend": ["6", "7"], "holidays": "2027-01-01 New Year\n2027-05-01 Labour Day"}
    wrong = author.post(add, {**new, "holidays": "1.1.2027 New Year"}).content.decode()
    assert "1.1.2027" in wrong
    assert "is no date" in wrong
    assert author.post(add, new).status_code == 302
    row = HolidayCalendar.objects.get(tenant=tenant)
    assert (row.weekend, row.holidays["2027-05-01"]) == ([6, 7], "Labour Day")
    page = author.get(reverse("admin:workflows_holidaycalendar_change", args=[row.id])).content.decode()
    assert "2027-05-01 Labour Day" in page
