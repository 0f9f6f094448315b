"""Time axis of the outline: positions, folded idle time, labels (docs/reference/screens.md#run-page)."""

from datetime import UTC, datetime, timedelta

import pytest

from workflows.outline.axis import TimeAxis, took_text

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("end", "busy", "positions"),
    [
        (8, [(0, 8)], {0: 0, 2: 25, 8: 100, 9: 100}),
        (8, [(0, 2)], {2: 25, 8: 100}),  # three quarters of the time are idle
        (100, [(0, 10)], {10: 6, 100: 100}),  # each busy time gets 6 % of the width
        (100, [(0, 5), (95, 100)], {5: 6, 95: 94, 50: 50}),
        (100, [(n, n + 1) for n in range(10)], {10: 50, 100: 100}),  # all busy times get at most half of the width
        (100, [], {50: 50}),  # nothing but waits
        (0, [(0, 0)], {0: 0}),
        (8, [(0, 4), (2, 8)], {4: 50}),  # spans that overlap
    ],
)
def test_positions(end: float, busy: list[tuple[float, float]], positions: dict[float, float]) -> None:
    axis = TimeAxis(START, at(end), [(at(a), at(b)) for a, b in busy])
    assert {seconds: axis.position(at(seconds)) for seconds in positions} == positions


def labels(axis: TimeAxis) -> list[tuple[float, str]]:
    return [(tick.left, tick.text or f"{tick.at:%H:%M:%S}") for tick in axis.ticks()]


@pytest.mark.parametrize(
    ("seconds", "is_open", "shown"),
    [
        (0, False, [(0, "0 s")]),
        (0.05, False, [(0, "0 s"), (40, "20 ms"), (80, "40 ms")]),
        (8, False, [(0, "0 s"), (25, "2 s"), (50, "4 s"), (75, "6 s"), (100, "8 s")]),
        (7.6, True, [(0, "0 s"), (26.32, "2 s"), (52.63, "4 s"), (78.95, "6 s"), (100, "now")]),
        (115, True, [(0, "0 s"), (43.48, "50 s"), (100, "now")]),  # "100 s" would overlap "now"
        (84, False, [(0, "0 s"), (23.81, "20 s"), (47.62, "40 s"), (71.43, "60 s"), (95.24, "80 s")]),
        (600, False, [(0, "00:00:00"), (33.33, "00:03:20"), (66.67, "00:06:40"), (100, "00:10:00")]),
        (3_120, True, [(0, "00:00:00"), (33.33, "00:17:20"), (66.67, "00:34:40"), (100, "now")]),
    ],
)
def test_short_axis_shows_seconds_and_a_long_one_times_of_the_clock(
    seconds: float, is_open: bool, shown: list[tuple[float, str]]
) -> None:
    axis = TimeAxis(START, at(seconds), [(at(0), at(seconds))], is_open=is_open)
    assert labels(axis) == shown
    assert axis.step == (shown[1][0] if len(shown) > 1 else 33.33)


def test_folded_axis_says_how_much_is_idle_and_cuts_each_long_idle_time() -> None:
    axis = TimeAxis(START, at(15_001.2), [(at(0), at(1.2))], is_open=True)
    assert labels(axis) == [(0, "00:00:00"), (50, "4 h 10 min folded"), (100, "now")]
    assert axis.step == 100, "no line suggests that the scale is even"
    assert axis.cuts == [47.0]  # the wait is drawn from 6 to 100, and the gap has a width of 12
    twice = TimeAxis(START, at(200), [(at(0), at(10)), (at(105), at(110))])
    assert twice.cuts == [24.59, 72.59]
    assert labels(twice) == [(0, "0 s"), (50, "3 min folded"), (100, "3 min")]
    gap = TimeAxis(START, at(100), [(at(0), at(4)), (at(5), at(9))])
    assert (gap.idle_seconds, gap.folded_seconds) == (92, 91), "the idle second between the two is not folded"
    assert TimeAxis(START, at(8), [(at(0), at(8))]).cuts == []
    many = TimeAxis(START, at(1_000), [(at(n * 100), at(n * 100 + 1)) for n in range(10)])
    assert (many.cuts, many.position(at(500))) == ([], 50), "ten short waits have no room for gaps"


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
