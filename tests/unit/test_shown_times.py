"""Times on pages: in the browser's zone with its name, UTC on request, durations rounded down.

Source: docs/reference/screens.md#times
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone

from portal.time_zone import TimeZoneMiddleware
from workflows.admin.business_data import value_words
from workflows.selectors.run_values import DATE, SearchPath
from workflows.templatetags import times

NOW = datetime(2026, 11, 24, 13, 7, 32, 204_000, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fixed_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"), (0.0039, "3 ms"), (0.99, "0.9 s"), (8.29, "8.2 s"), (12.9, "12 s"), (119.9, "119 s"), (5, "5 s"),
        (120, "2 min"), (3_599, "59 min"), (3_600, "1 h"), (15_000, "4 h 10 min"), (172_799, "47 h 59 min"),
        (172_800, "2 d"), (187_200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_rounded_down(seconds: float, text: str) -> None:
    assert times.duration(seconds) == text


@pytest.mark.parametrize(
    ("at", "zone", "text"),
    [
        (NOW, "Europe/Berlin", "14:07 CET"),
        (NOW, "UTC", "13:07 UTC"),
        (NOW, "America/Sao_Paulo", "10:07 UTC-03:00"),
        (NOW - timedelta(days=1), "Europe/Berlin", "Mon 14:07 CET"),
        (NOW + timedelta(hours=12), "Europe/Berlin", "Wed 02:07 CET"),
        (NOW - timedelta(days=22), "Europe/Berlin", "2 Nov 14:07 CET"),
        (NOW - timedelta(days=122), "Europe/Berlin", "25 Jul 15:07 CEST"),
        (NOW - timedelta(days=400), "Europe/Berlin", "20 Oct 2025 15:07 CEST"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "Europe/Berlin", "31 Dec 9999 23:59 UTC"),
        (datetime(1, 1, 1, tzinfo=UTC), "America/Sao_Paulo", "1 Jan 1 00:00 UTC"),
    ],
)
def test_a_time_names_its_zone_and_its_day_if_it_is_another_day(at: datetime, zone: str, text: str) -> None:
    with timezone.override(ZoneInfo(zone)):
        assert f">{text}</time>" in times.moment(at)
        assert f">{text.rpartition(' ')[0]}</time>" in times.clock(at)


def test_business_data_may_have_the_last_time_of_the_calendar() -> None:
    path = SearchPath(uuid.uuid4(), "expires", DATE)
    with timezone.override(ZoneInfo("Asia/Tokyo")):
        assert value_words(path, "9999-12-31T23:59:59Z") == "9999-12-31 23:59 UTC"


def test_hover_and_focus_show_the_full_time_in_the_zone_and_in_utc() -> None:
    with timezone.override(ZoneInfo("Europe/Berlin")):
        shown = times.ago(NOW - timedelta(minutes=20))
    assert (
        'title="2026-11-24 13:47:32.204 CET = 2026-11-24 12:47:32.204 UTC" tabindex="0" data-ago="1200">20 min ago<'
        in shown
    )
    assert "in 24 min" in times.until(NOW + timedelta(minutes=24, seconds=59))
    assert "17 min ago" in times.until(NOW - timedelta(minutes=17))


def test_the_duration_of_something_open_is_written_so_that_the_page_can_advance_it() -> None:
    start = NOW - timedelta(seconds=115.9)
    assert times.duration_between(start, None) == '<time datetime="PT115S" data-lasts="115">115 s</time>'
    assert times.duration_between(start, NOW) == "115 s"
    assert ">0 s</time>" in times.duration_between(NOW + timedelta(seconds=2), None)


@pytest.mark.parametrize(
    ("path", "cookies", "zone"),
    [
        ("/admin/", {"pointsman_zone": "Europe/Berlin"}, "CET"),
        ("/admin/", {}, "UTC"),
        ("/admin/", {"pointsman_zone": "Europe/Berlin", "pointsman_utc": "1"}, "UTC"),
        ("/admin/", {"pointsman_zone": "../../etc/passwd"}, "UTC"),
        ("/admin/", {"pointsman_zone": "Mars/Olympus"}, "UTC"),
        ("/invitation", {"pointsman_zone": "Europe/Berlin"}, "CET"),
        ("/account/security/", {"pointsman_zone": "Europe/Berlin"}, "CET"),
        ("/api/v1/runs", {"pointsman_zone": "Europe/Berlin"}, "UTC"),
    ],
)
def test_the_cookies_choose_the_zone_of_pages_only(path: str, cookies: dict[str, Any], zone: str) -> None:
    request = RequestFactory().get(path)
    request.COOKIES.update(cookies)
    response = TimeZoneMiddleware(lambda request: HttpResponse(times.zone_name()))(request)
    assert response.content.decode() == zone
    assert times.zone_name() == "UTC"
