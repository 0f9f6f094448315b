"""Chart of an incident: lines and labels of the published versions (docs/reference/incidents.md#pages)."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from workflows.selectors.failure_counts import Hour, Share, VersionRow
from workflows.templatetags.incidents import incident_chart

BEGIN = datetime(2026, 11, 24, tzinfo=UTC)
HOURS = [Hour(BEGIN + timedelta(hours=n), BEGIN + timedelta(hours=n + 1), n % 3) for n in range(24)]


@pytest.mark.parametrize(
    ("minutes", "labels"),
    [
        ([600], ["v1 published 10:00"]),
        ([600, 1080], ["v1 published 10:00", "v2 18:00"]),
        ([600, 604], ["v1–v2 published 10:00–10:04"]),
        ([600, 600, 1080], ["v1–v2 published 10:00", "v3 18:00"]),
        ([300, 1000, 1010, 1015], ["v1 published 05:00", "v2–v4 16:40–16:55"]),
        ([5, 10], ["v1–v2 published 00:05–00:10"]),
        ([5, 240], ["v1–v2 published 00:05–04:00"]),
        ([-60, 1439], ["v2 published 23:59"]),
        ([], []),
    ],
)
def test_labels_of_versions_do_not_overlap(minutes: list[int], labels: list[str]) -> None:
    rows = [
        VersionRow(number, BEGIN + timedelta(minutes=at), "", Share(0, 0), open=0, failed=0)
        for number, at in enumerate(minutes, start=1)
    ]
    shown = incident_chart(HOURS, rows[::-1])
    assert shown.count('<line class="mark"') == sum(0 <= at < 24 * 60 for at in minutes)
    found = re.findall(r'mark-text" x="([0-9.]+)" y="13" text-anchor="(\w+)">([^<]*)<', shown)
    assert [text for _, _, text in found] == labels
    end = 0.0
    for x, anchor, text in found:
        left = float(x) - (6 * len(text) if anchor == "end" else 0)
        assert end <= left <= 620 - 6 * len(text), text
        end = left + 6 * len(text)
