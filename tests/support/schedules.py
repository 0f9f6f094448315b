"""Schedules that fire every second, because a cron expression has no seconds, and one that does not fire in a test."""

from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.schedule.v1 import IntervalSpec, ScheduleSpec

from workflows.temporal import schedules

EVERY_MINUTE = {"type": "recurring", "cron": "* * * * *", "timezone": "Europe/Berlin"}
# A schedule that a test leaves behind would start runs during all later tests if it fired every minute.
YEARLY = {**EVERY_MINUTE, "cron": "0 3 1 1 *"}


def fire_every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every schedule that this process sends to Temporal fire every second."""

    def spec(wanted: schedules.WantedSchedule) -> ScheduleSpec:
        interval = Duration()
        interval.FromTimedelta(timedelta(seconds=1))
        return ScheduleSpec(interval=[IntervalSpec(interval=interval)], timezone_name=wanted.time_zone)

    monkeypatch.setattr(schedules, "schedule_spec", spec)
