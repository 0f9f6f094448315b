"""Time axis of the outline: positions, folded idle time, labels (docs/reference/screens.md#run-page)."""

from datetime import UTC, datetime, timedelta

import pytest

from workflows.outline.axis import TimeAxis, took_text

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("end", "work", "positions"),
    [
        (8, [(0, 8)], {0: 0, 2: 25, 8: 100, 9: 100}),
        (8, [(0, 5)], {5: 62.5, 8: 100}),  # less than half of the time is idle
        (100, [(0, 10)], {10: 50, 100: 100}),  # 90 s of idle time share the other half
        (100, [(0, 5), (95, 100)], {5: 25, 95: 75, 50: 50}),
        (100, [(0, 0.5)], {0.5: 12, 100: 100}),  # short work gets less than half of the width
        (100, [], {50: 50}),  # nothing but waits
        (0, [(0, 0)], {0: 0}),
        (8, [(0, 4), (2, 8)], {4: 50}),  # spans that overlap
    ],
)
def test_positions(end: float, work: list[tuple[float, float]], positions: dict[float, float]) -> None:
    axis = TimeAxis(START, at(end), [(at(a), at(b)) for a, b in work])
    assert {seconds: axis.position(at(seconds)) for seconds in positions} == positions


def test_folded_axis_says_how_much_is_idle_and_cuts_the_longest_idle_time() -> None:
    axis = TimeAxis(START, at(15_001.2), [(at(0), at(1.2))])
    assert [tick.text for tick in axis.ticks()] == ["0 s", "4 h 10 min idle, folded", "4 h"]
    plain = TimeAxis(START, at(3_800), [(at(0), at(3_800))])
    assert [tick.text for tick in plain.ticks()] == ["0 s", "15 min", "31 min", "47 min", "1 h"]
    assert axis.cut == 69.0  # the wait is drawn from 50 to 100, and the gap has a width of 12
    assert TimeAxis(START, at(8), [(at(0), at(8))]).cut is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"), (0, "0 ms"), (0.0039, "3 ms"), (0.1, "0.1 s"), (0.99, "0.9 s"), (9.99, "9.9 s"), (10, "10 s"),
        (119.9, "119 s"), (120, "2 min"), (250, "4 min"), (3600, "1 h"), (15_000, "4 h 10 min"), (172_800, "2 d"),
        (187_200, "2 d 4 h"),
    ],
)  # fmt: skip
def test_durations_are_rounded_down(seconds: float, text: str) -> None:
    assert took_text(seconds) == text
