"""Time axis of the outline. It folds idle time, so that the work of a run that waited for days stays visible."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

# Share of the width for the busy times of a folded axis: for each of them, and at most.
BUSY_SHARE, MOST_BUSY_SHARE = 0.06, 0.5
# Width of the gap in a folded idle time. A shorter idle time than twice the gap has none.
CUT_WIDTH = 12.0
# Idle time is folded from this share of the time. With less of it, an even scale shows the work well enough.
MOST_IDLE_SHARE = 0.75
# The label of the folded time fits between the other two labels only in the middle.
LABEL_POSITION = 50.0
# A longer axis shows times of the clock. A shorter one shows the seconds since the start.
CLOCK_SECONDS = 600.0
CLOCK_PARTS = 3
DAYS_SECONDS = 20 * 3_600.0
MAX_TICKS = 5
# Half of the width of a character of a label, and the left edge of the label `now` with a gap. Units: percent.
HALF_CHARACTER, NOW_EDGE = 1.7, 88.0


@dataclass(frozen=True)
class Segment:
    """One piece of a time bar. `kind`: w (work), bad (failed work), p (wait) or y (retry delay). Units: percent."""

    kind: str
    left: float
    width: float
    title: str = ""


@dataclass(frozen=True)
class Tick:
    """A label of the axis: a time of the clock, or a text. Units: `left` is in percent."""

    left: float
    text: str = ""
    at: datetime | None = None


class TimeAxis:
    """Map from times to percent of the width.

    Idle time is the time outside of the spans of `busy`. If it is most of the time, the axis draws it shorter. `cuts`
    has then the left edge of the gap in each long idle time, and `folded_seconds` is the time of these. Many short idle
    times are not drawn shorter.
    `end` of an open run is now.
    """

    def __init__(
        self, start: datetime, end: datetime, busy: Iterable[tuple[datetime, datetime]], *, is_open: bool = False
    ) -> None:
        self.start, self.end, self.is_open = start, max(start, end), is_open
        self.seconds = (self.end - self.start).total_seconds()
        offsets = [(self._offset(a), self._offset(b)) for a, b in busy]
        spans = _merged(offsets)
        self.idle_seconds = max(0.0, self.seconds - sum(b - a for a, b in spans))
        is_idle = self.idle_seconds > MOST_IDLE_SHARE * self.seconds
        self._points = self._folded(spans, len(offsets)) if is_idle and spans else []
        folded = list(self._long_idle_spans(spans)) if self._points else []
        self.folded_seconds = sum(b - a for a, b in folded)
        self.cuts = [self._cut(a, b) for a, b in folded]
        if not self.cuts:
            self._points = []

    def position(self, at: datetime) -> float:
        """Return the position of a time. Units: percent, from 0 to 100."""
        offset = self._offset(at)
        if not self.seconds:
            return 0.0
        if not self._points:
            return round(100 * offset / self.seconds, 2)
        return round(self._at_offset(offset), 2)

    def segment(self, kind: str, start: datetime, end: datetime, title: str = "") -> Segment:
        left = self.position(start)
        return Segment(kind, left, round(max(0.4, self.position(end) - left), 2), title)

    @property
    def is_clock(self) -> bool:
        """Return True if the labels are times of the clock."""
        return self.seconds >= CLOCK_SECONDS

    @property
    def step(self) -> float:
        """Return the distance of the lines behind the bars. Units: percent."""
        if self.cuts:
            return 100.0
        if self.is_clock or not self.seconds:
            return round(100 / CLOCK_PARTS, 2)
        return round(100 * _round_step(self.seconds) / self.seconds, 2)

    @property
    def shows_days(self) -> bool:
        """Return True if the times of the labels are on different days."""
        return self.seconds >= DAYS_SECONDS

    def ticks(self) -> list[Tick]:
        """Return the labels of the axis. A folded axis says how much time its gaps leave out."""
        if self.cuts:
            return [self._tick(0), Tick(LABEL_POSITION, f"{took_text(self.folded_seconds)} folded"), self._tick(1)]
        if self.is_clock:
            return [self._tick(part / CLOCK_PARTS) for part in range(CLOCK_PARTS + 1)]
        if self.seconds < 0.01:
            return [self._tick(0)]
        step = _round_step(self.seconds)
        places = [number * step for number in range(MAX_TICKS + 1) if number * step <= self.seconds]
        ticks = [Tick(round(100 * place / self.seconds, 2), _step_text(place)) for place in places]
        if not self.is_open:
            return ticks
        # The label `now` takes the place of a label that it would overlap.
        fitting = [tick for tick in ticks if tick.left + HALF_CHARACTER * len(tick.text) < NOW_EDGE]
        return [*fitting, Tick(100, "now")]

    def _tick(self, share: float) -> Tick:
        if share == 1 and self.is_open:
            return Tick(100, "now")
        if self.is_clock:
            return Tick(round(100 * share, 2), at=self.start + share * (self.end - self.start))
        return Tick(share * 100, took_text(self.seconds) if share else "0 s")

    def _offset(self, at: datetime) -> float:
        return min(max((at - self.start).total_seconds(), 0.0), self.seconds)

    def _folded(self, spans: Sequence[tuple[float, float]], busy_count: int) -> list[tuple[float, float]]:
        was_busy = self.seconds - self.idle_seconds
        share = min(MOST_BUSY_SHARE, BUSY_SHARE * busy_count)
        of_busy = 100 * share / was_busy if was_busy else 0.0
        of_idle = 100 * (1 - share if was_busy else 1) / self.idle_seconds
        points = [(0.0, 0.0)]
        for start, end in spans:
            points.append((start, points[-1][1] + (start - points[-1][0]) * of_idle))
            points.append((end, points[-1][1] + (end - start) * of_busy))
        return [*points, (self.seconds, 100.0)]

    def _long_idle_spans(self, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
        """Return the idle times that are wide enough for a gap."""
        edges = [0.0, *(edge for span in spans for edge in span), self.seconds]
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            if self._at_offset(b) - self._at_offset(a) >= 2 * CUT_WIDTH:
                yield a, b

    def _cut(self, start: float, end: float) -> float:
        """Return the left edge of the gap in an idle time. It is in the middle."""
        return round((self._at_offset(start) + self._at_offset(end) - CUT_WIDTH) / 2, 2)

    def _at_offset(self, offset: float) -> float:
        for (x0, y0), (x1, y1) in pairwise(self._points):
            if offset <= x1:
                return y0 + (y1 - y0) * (offset - x0) / (x1 - x0) if x1 > x0 else y1
        return 100.0


def _round_step(seconds: float) -> float:
    """Return the shortest of 1, 2 and 5, times a power of ten, that needs at most `MAX_TICKS` labels."""
    power = 10.0 ** math.floor(math.log10(seconds / MAX_TICKS))
    return next(power * digit for digit in (1, 2, 5, 10, 20) if seconds / (power * digit) < MAX_TICKS)


def _step_text(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 or not seconds else f"{seconds * 1000:g} ms"


def took_text(seconds: float) -> str:
    """Return a duration, rounded down: `3 ms`, `0.9 s`, `82 s`, `4 min`, `4 h 10 min`, `2 d 4 h`."""
    if seconds < 0.1:
        return f"{int(max(0.0, seconds) * 1000)} ms"
    if seconds < 10:
        return f"{int(seconds * 10) / 10:.1f} s"
    if seconds < 120:
        return f"{int(seconds)} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
