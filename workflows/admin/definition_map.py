"""Map of a definition version: its graph with the counts, times and branch shares of its runs.

Source: docs/reference/screens.md#map
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from workflows.graph.drawing import Badge, Drawing, Mark, Overlay, draw
from workflows.graph.model import Graph, Node, read_graph
from workflows.models import Definition, DefinitionVersion, Incident, Run
from workflows.selectors.step_counts import (
    MapNumbers,
    OpenNumbers,
    OpenRuns,
    StepNumbers,
    all_numbers,
    all_open,
    map_numbers,
    step_places,
)
from workflows.shares import percent
from workflows.statuses import RunStatus
from workflows.templatetags.times import local_time

PERIODS = {"1h": ("1 h", timedelta(hours=1)), "24h": ("24 h", timedelta(days=1)), "7d": ("7 days", timedelta(days=7))}
HEATS = {"failures": "Heat by failures", "time": "by time"}
# Value of `version` in the address, and the number of the newest versions whose steps are compared.
ALL, MOST_VERSIONS = "all", 50
# Value of the filter `replays` of the run list. A replay is counted with its original.
WITHOUT_REPLAYS = "without"


@dataclass(frozen=True)
class MapChoice:
    """Choice of what the map shows: a version, the beginning of the period and the heat.

    `is_all`: the numbers are those of all versions, on the steps of this version.
    """

    version: DefinitionVersion
    period: str
    since: datetime
    heat: str
    is_all: bool = False

    @property
    def name(self) -> str:
        return "all versions" if self.is_all else f"version {self.version.version}"

    def runs(self) -> QuerySet[Run]:
        """Return the runs of the period whose numbers the map shows."""
        runs = Run.objects.filter(
            tenant_id=self.version.tenant_id, definition=self.version.definition, created_at__gte=self.since
        )
        return runs if self.is_all else runs.filter(definition_version=self.version)

    def runs_url(self, **filters: str) -> str:
        """Return the address of the list with these runs."""
        version = {} if self.is_all else {"version": str(self.version.version)}
        chosen = {"definition": self.version.definition.key, **version, **filters}
        return f"{reverse('admin:workflows_run_changelist')}?{urlencode(chosen)}"

    def period_filters(self) -> dict[str, str]:
        """Return the filter for the period. The run list reads it in the time zone of the page."""
        since = local_time(self.since)
        return {"created_at_from_0": f"{since:%Y-%m-%d}", "created_at_from_1": f"{since:%H:%M:%S}"}


@dataclass(frozen=True)
class MapRow:
    """Row of the table of steps. Each count has the address of exactly these runs."""

    anchor: str
    node: Node
    numbers: StepNumbers
    open: OpenNumbers
    is_in_loop: bool
    urls: dict[str, str]

    @property
    def p50(self) -> str:
        return time_text(self.numbers.percentile(0.5))

    @property
    def p95(self) -> str:
        return time_text(self.numbers.percentile(0.95))

    @property
    def urgency(self) -> tuple[float, ...]:
        open_runs = self.open
        return -self.numbers.failed, -open_runs.unknown, -open_runs.retrying, -open_runs.open

    @property
    def ran(self) -> str:
        number, word = self.numbers.executions, "time" if self.is_in_loop else "run"
        return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


@dataclass(frozen=True)
class MapFailure:
    """The step in which most runs of the period failed, with the first and the last of these runs.

    `first` and `last` are None if the place of the step differs between versions. `is_named`: the box over the map
    names an incident of this step, with its runs. So the map does not name them again, and has no first and last run.
    """

    row: MapRow
    first: Run | None = None
    last: Run | None = None
    is_named: bool = False


@dataclass(frozen=True)
class DefinitionMap:
    choice: MapChoice
    drawing: Drawing
    rows: list[MapRow]
    numbers: MapNumbers
    open: OpenRuns
    failure: MapFailure | None
    versions: list[int]
    uncounted_since: datetime | None

    @property
    def open_count(self) -> int:
        return self.open.count(None if self.choice.is_all else self.choice.version.version)

    @property
    def period_name(self) -> str:
        return PERIODS[self.choice.period][0]


def map_choice(definition: Definition, query: QueryDict) -> MapChoice | None:
    """Return what the address chooses. Return None if nothing is published.

    An unreadable part of the address has no effect: the map shows the published version and the last 24 hours.
    """
    number, version = query.get("version", ""), definition.published_version
    if number.isdecimal() and len(number) < 10:
        is_shown = version is not None and version.version == int(number)
        version = version if is_shown else definition.versions.filter(version=int(number)).first() or version
    if version is None:
        return None
    version.definition = definition  # the relation needs no statement
    period, heat = query.get("period", ""), query.get("heat", "")
    period, heat = period if period in PERIODS else "24h", heat if heat in HEATS else "failures"
    since = (timezone.now() - PERIODS[period][1]).replace(minute=0, second=0, microsecond=0)
    return MapChoice(version, period, since, heat, is_all=number == ALL)


def definition_map(choice: MapChoice, now: OpenRuns, incidents: list[Incident]) -> DefinitionMap:
    """Return the map of a version. `incidents` are those that the box over the map names.

    The definition must have the annotations of `map_annotations`. Cost: at most three statements.
    """
    version = choice.version
    definition: Any = version.definition
    if choice.is_all:
        places = step_places(version, definition.versions.order_by("-version")[:MOST_VERSIONS])
        numbers, open_numbers = all_numbers(definition, places, since=choice.since), all_open(now, places)
        without_link = places.ambiguous
    else:
        numbers, open_numbers = map_numbers(version, since=choice.since), now.versions.get(version.version, {})
        without_link = frozenset()
    graph = read_graph(version.document())
    rows = _rows(graph, numbers, open_numbers, choice, without_link)
    slowest = max((row.numbers.percentile(0.95) or 0 for row in rows if not row.node.sides), default=0)
    overlay = Overlay({row.node.path: _mark(row, choice, slowest) for row in rows}, _shares(rows))
    return DefinitionMap(
        choice, draw(graph, overlay), sorted(rows, key=lambda row: row.urgency), numbers, now,
        _failure(rows, choice, incidents),
        definition.newest_versions, definition.uncounted_since,
    )  # fmt: skip


def _rows(
    graph: Graph, numbers: MapNumbers, now: dict[str, OpenNumbers], choice: MapChoice, without_link: frozenset[str]
) -> list[MapRow]:
    rows = []
    for place, node in enumerate((node for node in graph.all_nodes() if node.is_step), 1):
        at = {"current_step": node.path}
        urls = {
            "open": choice.runs_url(**at),
            "retrying": choice.runs_url(status__exact="retrying", **at),
            "unknown": choice.runs_url(status__exact="unknown", **at),
            "failed": choice.runs_url(
                status__exact=RunStatus.FAILED.value,
                failed_step=node.path,
                replays=WITHOUT_REPLAYS,
                **choice.period_filters(),
            ),
        }
        urls = {name: "" if node.path in without_link else url for name, url in urls.items()}
        steps, at_step = numbers.steps.get(node.path, StepNumbers()), now.get(node.path, OpenNumbers())
        rows.append(MapRow(f"step-{place}", node, steps, at_step, ".body.steps[" in node.path, urls))
    return rows


def _mark(row: MapRow, choice: MapChoice, slowest: float) -> Mark:
    numbers, now = row.numbers, row.open
    counts = (
        (numbers.failed, "failed", "red"), (now.unknown, "unknown", "violet"), (now.retrying, "retrying", "orange"),
        (now.open, "open", "blue"),
    )  # fmt: skip
    badges = tuple(Badge(f"{count:,} {word}", tone, row.urls[word]) for count, word, tone in counts if count)
    times = f"p95 {row.p95}" if numbers.executions else ""
    note = times if badges and not row.node.is_frame else f"{row.ran}, {times}" if times else row.node.about
    words = f"p50 {row.p50}" if numbers.executions else ""
    return Mark(css=_heat(row, choice, slowest), note=note, words=words, href=f"#{row.anchor}", badges=badges)


def _heat(row: MapRow, choice: MapChoice, slowest: float) -> str:
    if choice.heat == "failures":
        return "hot" if row.numbers.failed else "warm" if row.open.retrying or row.open.unknown else ""
    time = row.numbers.percentile(0.95) or 0
    if row.node.sides or not time:
        return ""
    return "hot" if time >= slowest else "warm" if time >= slowest / 4 else ""


def _shares(rows: list[MapRow]) -> dict[str, str]:
    """Return the share of each side by its block path, for example `42 % (22)`."""
    shares = {}
    for row in rows:
        chosen, total = row.numbers.branches, sum(row.numbers.branches.values())
        for side in row.node.sides if total else ():
            number = chosen.get(side.name, 0)
            shares[side.path] = f"{percent(number, total)} % ({number:,})"
    return shares


def _failure(rows: list[MapRow], choice: MapChoice, incidents: list[Incident]) -> MapFailure | None:
    worst = max(rows, key=lambda row: row.numbers.failed, default=None)
    if worst is None or not worst.numbers.failed:
        return None
    if any(one.step_path == worst.node.path and _is_of(one, choice) for one in incidents):
        return MapFailure(worst, is_named=True)
    if not worst.urls["failed"]:
        return MapFailure(worst)
    runs = choice.runs().filter(failed_step_path=worst.node.path, status=RunStatus.FAILED, replay_of__isnull=True)
    runs = runs.only("id", "tenant_id", "error_code", "ended_at", "created_at")
    ends = runs.order_by("created_at")[:1].union(runs.order_by("-created_at")[:1], all=True)
    found = sorted(ends, key=lambda run: run.created_at)
    first, last = (found[0], found[-1]) if found else (None, None)
    return MapFailure(worst, first, last)


def _is_of(incident: Incident, choice: MapChoice) -> bool:
    return choice.is_all or incident.first_version <= choice.version.version <= incident.last_version


def time_text(seconds: float | None) -> str:
    """Return an estimated time with two digits: `3 ms`, `0.7 s`, `8.1 s`, `38 min`, `5 h`, `3 d`."""
    if seconds is None:
        return "–"
    if seconds < 0.1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for size, most, unit in ((1, 120, "s"), (60, 120, "min"), (3600, 48, "h")):
        if seconds / size < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def seg_links(choice: MapChoice, versions: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Return the links of the switches over the map: version, period and heat."""
    now = {"version": ALL if choice.is_all else choice.version.version, "period": choice.period, "heat": choice.heat}

    def links(name: str, choices: dict[Any, str]) -> list[dict[str, Any]]:
        return [
            {"text": text, "url": f"?{urlencode({**now, name: value})}", "is_chosen": now[name] == value}
            for value, text in choices.items()
        ]

    numbers = sorted({*versions, choice.version.version}, reverse=True)
    return {
        "Version": links("version", {ALL: "All", **{number: f"v{number}" for number in numbers}}),
        "Period": links("period", {period: text for period, (text, _) in PERIODS.items()}),
        "Heat": links("heat", HEATS),
    }
