"""Cron expressions: problems, and times on days on which the clocks change."""

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from workflows.engine.cron import cron_problems, cron_times, parse_cron


@pytest.mark.parametrize(
    ("cron", "zone", "codes"),
    [
        ("0 9 * * 1-5", "Europe/Berlin", []),
        ("*/15 8-18 1,15 jan-jun *", "UTC", []),
        ("0 9 * * monday", "Etc/UTC", []),
        ("0 0 29 2 *", "UTC", []),
        ("0 9 13 * 5", "UTC", ["CRON_DAY_AND_WEEKDAY"]),
        ("0 9 */2 * 5", "UTC", []),
        ("0 0 31 2 *", "UTC", ["CRON_NEVER"]),
        ("0 0 30 2 1", "UTC", ["CRON_NEVER"]),
        ("", "UTC", ["CRON_INVALID"]),
        ("@daily", "UTC", ["CRON_INVALID"]),
        ("0 0 9 * * 1", "UTC", ["CRON_INVALID"]),
        ("60 * * * *", "UTC", ["CRON_INVALID"]),
        ("* 24 * * *", "UTC", ["CRON_INVALID"]),
        ("* * 0 * *", "UTC", ["CRON_INVALID"]),
        ("* * * 13 *", "UTC", ["CRON_INVALID"]),
        ("* * * * 8", "UTC", ["CRON_INVALID"]),
        ("5-1 * * * *", "UTC", ["CRON_INVALID"]),
        ("*/0 * * * *", "UTC", ["CRON_INVALID"]),
        ("1, * * * *", "UTC", ["CRON_INVALID"]),
        ("1-2-3 * * * *", "UTC", ["CRON_INVALID"]),
        ("* * L * *", "UTC", ["CRON_INVALID"]),
        ("* * ? * *", "UTC", ["CRON_INVALID"]),
        ("* * * * 1#2", "UTC", ["CRON_INVALID"]),
        ("١ * * * *", "UTC", ["CRON_INVALID"]),
        ("* * * * " + "1," * 200 + "1", "UTC", ["CRON_INVALID"]),
        ("* * * * *", "Europe/Berln", ["TIMEZONE_UNKNOWN"]),
        ("* * * * *", "../../etc/passwd", ["TIMEZONE_UNKNOWN"]),
        ("x", "", ["TIMEZONE_UNKNOWN", "CRON_INVALID"]),
    ],
)
def test_problems(cron: str, zone: str, codes: list[str]) -> None:
    assert [problem.code for problem in cron_problems(cron, zone)] == codes


def test_problem_names_the_field_and_suggests_a_time_zone() -> None:
    (problem,) = cron_problems("0 24 * * *", "UTC")
    assert (problem.place, problem.is_warning) == ("cron", False)
    assert "hour '24' is outside 0 to 23" in problem.message
    (problem,) = cron_problems("0 9 * * *", "Europe/Berln")
    assert (problem.place, problem.suggestion) == ("timezone", "did you mean 'Europe/Berlin'?")
    assert cron_problems("0 9 13 * 5", "UTC")[0].is_warning


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # A time must match the day of the month and also the day of the week.
        ("0 9 13 * 5", "UTC", "2027-01-01T00:00", ["2027-08-13T09:00", "2028-10-13T09:00"]),
        ("0 9 * * 5-7", "UTC", "2027-01-07T10:00", ["2027-01-08T09:00", "2027-01-09T09:00", "2027-01-10T09:00"]),
        ("5/20 * * * *", "UTC", "2027-01-01T00:05", ["2027-01-01T00:25", "2027-01-01T00:45", "2027-01-01T01:05"]),
        # The clocks go forward: 02:30 does not exist on 28 March.
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T00:00", ["2027-03-27T01:30", "2027-03-29T00:30"]),
        # The clocks go back, and an hour occurs twice. Temporal uses a time of this hour once or twice.
        ("30 2 * * *", "Europe/Berlin", "2027-10-30T00:00", ["2027-10-30T00:30", "2027-10-31T01:30"]),
        ("30 1 * * *", "America/New_York", "2027-11-07T00:00", ["2027-11-07T05:30", "2027-11-07T06:30"]),
        (
            "5/25 * * * *",
            "Europe/Berlin",
            "2027-10-30T23:50",
            ["2027-10-30T23:55", "2027-10-31T00:05", "2027-10-31T01:30"],
        ),
        ("0 0 29 2 *", "UTC", "2027-01-01T00:00", ["2028-02-29T00:00", "2032-02-29T00:00"]),
    ],
)
def test_times(cron: str, zone: str, after: str, expected: list[str]) -> None:
    found = cron_times(parse_cron(cron), ZoneInfo(zone), after=datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert [f"{moment:%Y-%m-%dT%H:%M}" for moment in islice(found, len(expected))] == expected


def test_times_end() -> None:
    assert list(cron_times(parse_cron("0 0 30 2 *"), ZoneInfo("UTC"), after=datetime(2027, 1, 1, tzinfo=UTC))) == []
