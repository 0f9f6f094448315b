"""The actions `calendar.*`: time zones, working hours and holidays."""

import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from workflows.actions import calendar
from workflows.actions.registry import ActionContext, ActionFailed, find_action

CONTEXT = ActionContext(uuid.UUID(int=1), uuid.UUID(int=2), "root.steps[0]", "key", 10)


def call(name: str, value: dict[str, Any]) -> calendar.CalendarOutput:
    action = find_action(f"calendar.{name}", 1)
    assert action is not None
    output = action.run(action.input_model.model_validate(value), CONTEXT)
    assert isinstance(output, calendar.CalendarOutput)
    return output


def test_in_zone_shows_the_local_date_and_time() -> None:
    assert call("in_zone", {"value": "2026-03-29T01:30:00Z", "zone": "Europe/Berlin"}).model_dump() == {
        "result": "2026-03-29T03:30:00.000+02:00", "ms": 1_774_747_800_000, "date": "2026-03-29",
        "time": "03:30:00.000", "weekday": 7, "offset": "+02:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "result"),
    [
        # The clocks change on 2026-03-29 and on 2026-10-25.
        ({"value": "2026-03-28T08:00:00Z", "days": 1}, "2026-03-29T09:00:00.000+02:00"),
        ({"value": "2026-03-28T08:00:00Z", "hours": 24}, "2026-03-29T10:00:00.000+02:00"),
        ({"value": "2026-03-28T01:30:00Z", "days": 1}, "2026-03-29T03:30:00.000+02:00"),
        ({"value": "2026-10-24T00:30:00Z", "days": 1}, "2026-10-25T02:30:00.000+02:00"),
        ({"value": "2026-10-25T01:30:00Z", "hours": 0}, "2026-10-25T02:30:00.000+01:00"),
        ({"value": "2026-01-31T08:00:00Z", "months": 1}, "2026-02-28T09:00:00.000+01:00"),
        ({"value": 1_774_684_800_000, "weeks": 1, "at": "07:15"}, "2026-04-04T07:15:00.000+02:00"),
        ({"value": "2026-03-28T08:00:00Z", "at": "23:00", "minutes": -30}, "2026-03-28T22:30:00.000+01:00"),
    ],
)
def test_add_keeps_the_local_time(value: dict[str, Any], result: str) -> None:
    assert call("add", {"zone": "Europe/Berlin", **value}).result == result


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"value": "2026-12-24T14:00:00Z", "days": 1}, "2026-12-25T15:00:00.000+01:00"),
        ({"value": "2026-12-24T14:00:00Z", "days": 2, "holidays": ["2026-12-25"]}, "2026-12-29T15:00:00.000+01:00"),
        ({"value": "2026-12-29T14:00:00Z", "days": -2, "holidays": ["2026-12-25"]}, "2026-12-24T15:00:00.000+01:00"),
        ({"value": "2026-12-26T14:00:00Z", "days": 1}, "2026-12-28T15:00:00.000+01:00"),
        ({"value": "2026-12-24T14:00:00Z", "days": 1, "workdays": [7]}, "2026-12-27T15:00:00.000+01:00"),
        ({"value": "2026-03-27T08:00:00Z", "days": 1}, "2026-03-30T09:00:00.000+02:00"),
        (
            {"value": "2026-12-24T15:00:00Z", "hours": 3, "opens": "09:00", "closes": "17:00"},
            "2026-12-25T11:00:00.000+01:00",
        ),
        (
            {"value": "2026-12-24T15:00:00Z", "hours": 1, "opens": "09:00", "closes": "17:00"},
            "2026-12-24T17:00:00.000+01:00",
        ),
        (
            {"value": "2026-12-26T15:00:00Z", "minutes": 30, "opens": "09:00", "closes": "17:00"},
            "2026-12-28T09:30:00.000+01:00",
        ),
        # Without opening hours a working day has the hours of the clock: 23 on the day of the change.
        ({"value": "2026-03-28T23:00:00Z", "hours": 24, "workdays": [7, 1]}, "2026-03-30T01:00:00.000+02:00"),
        ({"value": "2026-12-26T15:00:00Z", "days": 0}, "2026-12-26T16:00:00.000+01:00"),
    ],
)
def test_business_time(value: dict[str, Any], result: str) -> None:
    assert call("add_business_time", {"zone": "Europe/Berlin", **value}).result == result


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("in_zone", {"value": "soon", "zone": "UTC"}, "value"),
        ("in_zone", {"value": None, "zone": "UTC"}, "value"),
        ("in_zone", {"value": 10**30, "zone": "UTC"}, "value"),
        ("in_zone", {"value": 0, "zone": "Europe/Berlinn"}, "zone"),
        ("in_zone", {"value": 0, "zone": "../etc/passwd"}, "zone"),
        ("in_zone", {"value": 0, "zone": "Europe"}, "zone"),
        ("add", {"value": 0, "zone": "UTC", "days": 1.5}, "days"),
        ("add", {"value": 0, "zone": "UTC", "days": "1"}, "days"),
        ("add", {"value": 0, "zone": "UTC", "at": "25:00"}, "at"),
        ("add", {"value": 0, "zone": "UTC", "day": 1}, "day"),
        ("add_business_time", {"value": 0, "zone": "UTC", "hours": -1}, "hours"),
        ("add_business_time", {"value": 0, "zone": "UTC", "workdays": []}, "workdays"),
        ("add_business_time", {"value": 0, "zone": "UTC", "holidays": ["25.12.2026"]}, "holidays"),
        ("add_business_time", {"value": 0, "zone": "UTC", "holidays": [20261225]}, "holidays"),
    ],
)
def test_wrong_input_names_its_field(name: str, value: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as raised:
        call(name, value)
    assert raised.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("add", {"value": "9999-12-31T00:00:00Z", "days": 2}),
        ("add", {"value": "0001-01-02T00:00:00Z", "months": -5}),
        ("in_zone", {"value": "9999-12-31T23:59:59Z"}),
        ("add_business_time", {"value": "9999-12-31T00:00:00Z", "hours": 1000}),
        ("add_business_time", {"value": 0, "days": 10_000, "workdays": [1]}),
    ],
)
def test_result_outside_the_calendar_is_refused(name: str, value: dict[str, Any]) -> None:
    with pytest.raises(ActionFailed) as raised:
        call(name, {"zone": "Pacific/Kiritimati", **value})
    assert (raised.value.category, raised.value.code) == ("ValidationError", "TIME_INVALID")
