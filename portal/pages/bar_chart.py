"""Bar charts of two series per hour, as numbers for an SVG. No script draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from workflows.selectors.activity import Hour

WIDTH, HEIGHT = 520.0, 170.0
LEFT, TOP, BOTTOM = 34.0, 8.0, 150.0
BAR_SHARE = 0.85
LABEL_EVERY, LABEL_OFFSET = 4, 2
GRID_LINES = 4
STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Series:
    name: str
    label: str
    tone: str


@dataclass(frozen=True)
class Bar:
    """One rectangle. Units: those of the view box."""

    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True)
class Column:
    """The bars of one hour, and their text for a pointer."""

    at: datetime
    bars: list[Bar]
    x: float
    has_label: bool
    counts: list[tuple[str, int]]

    @property
    def text(self) -> str:
        return _text(self.counts)


@dataclass(frozen=True)
class Line:
    y: float
    value: int

    @property
    def text_y(self) -> float:
        return round(self.y + 4, 1)


@dataclass(frozen=True)
class Chart:
    columns: list[Column]
    lines: list[Line]
    series: Sequence[Series]
    totals: list[tuple[str, int]]

    @property
    def text(self) -> str:
        """Return the totals of the series: `120 succeeded, 3 failed`."""
        return _text(self.totals)

    @property
    def is_empty(self) -> bool:
        return not any(number for _, number in self.totals)


def bar_chart(hours: Sequence[Hour], series: Sequence[Series]) -> Chart:
    """Stack the counts of the series in one column for each hour."""
    top = _axis_top(max((sum(hour.counts.values()) for hour in hours), default=0))
    pitch = (WIDTH - LEFT) / max(1, len(hours))
    scale = (BOTTOM - TOP) / top
    columns = []
    for number, hour in enumerate(hours):
        x, y, bars = LEFT + number * pitch, BOTTOM, []
        for one in series:
            height = hour.counts[one.name] * scale
            y -= height
            if height:
                bars.append(Bar(round(x, 1), round(y, 1), round(pitch * BAR_SHARE, 1), round(height, 1), one.tone))
        counts = [(one.label, hour.counts[one.name]) for one in series]
        columns.append(Column(hour.at, bars, round(x, 1), number % LABEL_EVERY == LABEL_OFFSET, counts))
    lines = [Line(round(BOTTOM - part * top // GRID_LINES * scale, 1), part * top // GRID_LINES) for part in range(5)]
    totals = [(one.label, sum(hour.counts[one.name] for hour in hours)) for one in series]
    return Chart(columns, lines, series, totals)


def _text(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{number} {label.lower()}" for label, number in counts)


def _axis_top(largest: int) -> int:
    """Return the value of the highest grid line: at least the largest count, and a multiple of the number of lines."""
    scale = GRID_LINES
    while True:
        for step in STEPS:
            if step * scale >= largest:
                return step * scale
        scale *= 10
