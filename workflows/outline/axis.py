"""Time axis of the outline. It folds idle time, so that the work of a run that waited for days stays visible."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

# Share of the width for the time in which the run worked, when idle time is folded.
WORK_SHARE, SHORT_WORK_SHARE = 0.5, 0.12
SHORT_WORK_SECONDS = 1.0
CUT_WIDTH = 12.0
# The label of the folded time fits between the other two labels only here.
LABEL_POSITION, LONG_LABEL = 41.0, 24


@dataclass(frozen=True)
class Segment:
    """One piece of a time bar. `kind`: w (work), bad (failed work), p (wait) or y (retry delay). Units: percent."""

    kind: str
    left: float
    width: float
    title: str = ""


@dataclass(frozen=True)
class Tick:
    left: float
    text: str


class TimeAxis:
    """Map from times to percent of the width.

    Idle time is the time outside of the spans of `work`. If it is over half of the time, the axis draws it shorter.
    `cut` is then the position at which the bars have a gap; otherwise it is None.
    """

    def __init__(self, start: datetime, end: datetime, work: Iterable[tuple[datetime, datetime]]) -> None:
        self.start, self.end = start, max(start, end)
        self.seconds = (self.end - self.start).total_seconds()
        spans = _merged([(self._offset(a), self._offset(b)) for a, b in work])
        self.idle_seconds = max(0.0, self.seconds - sum(b - a for a, b in spans))
        self.cut: float | None = None
        self._points = self._folded(spans) if self.idle_seconds > self.seconds / 2 and spans else []
        if self._points:
            self.cut = self._cut_position(spans)

    def position(self, at: datetime) -> float:
        """Return the position of a time. Units: percent, from 0 to 100."""
        offset = self._offset(at)
        if not self.seconds:
            return 0.0
        if not self._points:
            return round(100 * offset / self.seconds, 2)
        for (x0, y0), (x1, y1) in pairwise(self._points):
            if offset <= x1:
                return round(y0 + (y1 - y0) * (offset - x0) / (x1 - x0), 2) if x1 > x0 else round(y1, 2)
        return 100.0

    def segment(self, kind: str, start: datetime, end: datetime, title: str = "") -> Segment:
        left = self.position(start)
        return Segment(kind, left, round(max(0.4, self.position(end) - left), 2), title)

    def ticks(self) -> list[Tick]:
        """Return the labels of the axis. A folded axis says how much idle time it leaves out."""
        if self.cut is not None:
            idle = f"{took_text(self.idle_seconds)} idle, folded"
            end = [Tick(100, coarse_text(self.seconds))] if len(idle) < LONG_LABEL else []
            return [Tick(0, "0 s"), Tick(LABEL_POSITION, idle), *end]
        return [
            Tick(share * 25, coarse_text(self.seconds * share / 4) if share else "0 s")
            for share in range(5 if self.seconds >= 0.01 else 1)
        ]

    def _offset(self, at: datetime) -> float:
        return min(max((at - self.start).total_seconds(), 0.0), self.seconds)

    def _folded(self, spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        worked = self.seconds - self.idle_seconds
        share = WORK_SHARE if worked >= SHORT_WORK_SECONDS else SHORT_WORK_SHARE
        of_work = 100 * share / worked if worked else 0.0
        of_idle = 100 * (1 - share if worked else 1) / self.idle_seconds
        points = [(0.0, 0.0)]
        for start, end in spans:
            points.append((start, points[-1][1] + (start - points[-1][0]) * of_idle))
            points.append((end, points[-1][1] + (end - start) * of_work))
        return [*points, (self.seconds, 100.0)]

    def _cut_position(self, spans: Sequence[tuple[float, float]]) -> float:
        """Return the left edge of the gap: the middle of the longest idle time."""
        edges = [0.0, *(edge for span in spans for edge in span), self.seconds]
        start, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda span: span[1] - span[0])
        left, right = (self._at_offset(start), self._at_offset(end))
        return round(max(0.0, (left + right) / 2 - CUT_WIDTH / 2), 2)

    def _at_offset(self, offset: float) -> float:
        return next((y for x, y in reversed(self._points) if x <= offset), 0.0)


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


def coarse_text(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down: `47 min`."""
    return " ".join(took_text(seconds).split(" ")[:2])


def _merged(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
