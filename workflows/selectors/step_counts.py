"""Numbers of the map of a definition version: counters of steps, and the open runs by their current step.

Source: docs/reference/screens.md#map
"""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import F, OuterRef, Q, QuerySet, Subquery, Sum
from django.utils import timezone

from workflows.engine.definition import parse_definition
from workflows.engine.unknown_outcomes import DECIDE_OUTCOME
from workflows.models import Definition, DefinitionVersion, Run, StepCount
from workflows.models.step_counts import BUCKETS_PER_OCTAVE, WHOLLY_COUNTED
from workflows.selectors.run_list import STARTED_STATUSES
from workflows.statuses import OPEN_RUN_STATUSES, OPEN_TASK_STATUSES

USUAL_SHARE, USUAL_WITHIN = 0.95, timedelta(days=7)
# Open runs above this number are not read. The map then says that it shows a part.
MOST_OPEN = 10_000
SHOWN_VERSIONS = 6

_OPEN = """
SELECT version, current_step_path, count(*), count(*) FILTER (WHERE is_unknown),
       count(*) FILTER (WHERE is_retrying AND NOT is_unknown)
FROM (
    SELECT r.version, r.current_step_path,
           r.status = ANY(%(started)s) AND EXISTS (
               SELECT 1 FROM workflow_tasks t WHERE t.tenant_id = r.tenant_id AND t.run_id = r.id
               AND t.task_type = %(decide)s AND t.status = ANY(%(open_tasks)s)) AS is_unknown,
           r.status = ANY(%(started)s) AND EXISTS (
               SELECT 1 FROM workflow_run_waits w WHERE w.tenant_id = r.tenant_id AND w.run_id = r.id
               AND w.kind = 'retry' AND w.status = 'WAITING') AS is_retrying
    FROM workflow_runs r
    WHERE r.tenant_id = %(tenant)s AND r.definition_id = %(definition)s AND r.status = ANY(%(open)s)
    LIMIT %(most)s
) runs
GROUP BY version, current_step_path
"""


@dataclass(frozen=True)
class StepNumbers:
    """Counters of one step.

    `failed`: runs that failed in it. `caught`: executions whose error did not fail the run. `branches`: executions by
    the chosen branch. `times`: executions by the bucket of their time.
    """

    failed: int = 0
    caught: int = 0
    branches: dict[str, int] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)

    @property
    def executions(self) -> int:
        return sum(self.times.values())

    def percentile(self, share: float) -> float | None:
        """Return the time below which this share of the executions was, or None without an execution.

        It is the middle of a bucket, so it differs from the exact time by at most 10 %. Units: seconds.
        """
        wanted = share * self.executions
        for bucket in sorted(self.times):
            wanted -= self.times[bucket]
            if wanted <= 0:
                return 0.0005 if bucket == 0 else 2 ** ((bucket - 0.5) / BUCKETS_PER_OCTAVE) / 1000
        return None


@dataclass(frozen=True)
class OpenNumbers:
    """Open runs that are at a step. `unknown` and `retrying` are parts of `open`."""

    open: int = 0
    unknown: int = 0
    retrying: int = 0


@dataclass(frozen=True)
class OpenRuns:
    """Open runs of a definition: numbers by version and step path. At most `MOST_OPEN` runs are read."""

    versions: dict[int, dict[str, OpenNumbers]]

    def count(self, version: int | None = None) -> int:
        """Return the number of open runs of a version, or of all versions."""
        if version is None:
            return sum(map(self.count, self.versions))
        return sum(numbers.open for numbers in self.versions.get(version, {}).values())

    @property
    def by_version(self) -> list[tuple[int, int]]:
        """Return the versions with open runs, newest first, each with the number of these runs."""
        return [(version, self.count(version)) for version in sorted(self.versions, reverse=True)]

    @property
    def is_part(self) -> bool:
        """Return True if there may be more open runs than were read."""
        return self.count() >= MOST_OPEN


@dataclass(frozen=True)
class MapNumbers:
    """Counters of one definition version or of several. `steps` is by step path; `ended` is by status of the run."""

    steps: dict[str, StepNumbers]
    ended: dict[str, int]

    @property
    def closed_count(self) -> int:
        return sum(self.ended.values())


@dataclass(frozen=True)
class StepPlaces:
    """Places of the steps of one version in other versions. A step is the same in two versions if its id is the same.

    `paths` maps the path of a step in a version to its path in the shown version. `ambiguous` has the paths of the
    shown version at which a version has another step, and those of steps that are elsewhere in a version. A filter by
    path would not list exactly the runs of such a step.
    """

    paths: dict[tuple[int, str], str]
    ambiguous: frozenset[str]


def step_places(shown: DefinitionVersion, others: Iterable[DefinitionVersion]) -> StepPlaces:
    """Compare the steps of a version with those of other versions."""
    own = _ids(shown)
    paths_of_ids = {step_id: path for path, step_id in own.items()}
    paths: dict[tuple[int, str], str] = {}
    ambiguous: set[str] = set()
    for version in others:
        found = _ids(version)
        places = {path: paths_of_ids[step_id] for path, step_id in found.items() if step_id in paths_of_ids}
        paths |= {(version.version, path): place for path, place in places.items()}
        ambiguous |= {path for path in own if path in found and places.get(path) != path}
        ambiguous |= {place for path, place in places.items() if place != path}
    return StepPlaces(paths, frozenset(ambiguous))


def _ids(version: DefinitionVersion) -> dict[str, str]:
    blocks = parse_definition(version.canonical_text).blocks
    return {step.path: step.id for steps in blocks.values() for step in steps}


def all_numbers(definition: Definition, places: StepPlaces, *, since: datetime) -> MapNumbers:
    """Return the counters of all versions, added up for each step of the shown version.

    Counters of steps that the shown version does not have are left out. Cost: one statement over the counters.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    rows = StepCount.objects.filter(
        tenant_id=definition.tenant_id, definition_version__definition=definition, hour__gte=since
    ).values_list("definition_version__version", "step_path", "measure")
    for version, path, measure, total in rows.annotate(total=Sum("count")).order_by():
        place = places.paths.get((version, path)) if path else ""
        if place is not None:
            counts[place][measure] += int(total)
    return _map_numbers(counts)


def all_open(now: OpenRuns, places: StepPlaces) -> dict[str, OpenNumbers]:
    """Return the open runs of all versions by step of the shown version."""
    found: dict[str, list[OpenNumbers]] = defaultdict(list)
    for version, steps in now.versions.items():
        for path, numbers in steps.items():
            if place := places.paths.get((version, path)):
                found[place].append(numbers)
    return {
        path: OpenNumbers(*(sum(getattr(one, name) for one in numbers) for name in ("open", "unknown", "retrying")))
        for path, numbers in found.items()
    }


def map_numbers(version: DefinitionVersion, *, since: datetime) -> MapNumbers:
    """Return the counters of a version, for runs that were created at or after `since`, the beginning of an hour.

    Cost: one statement over the counters of the version, for any number of runs.
    """
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    rows = StepCount.objects.filter(tenant_id=version.tenant_id, definition_version=version, hour__gte=since)
    for path, measure, total in rows.values_list("step_path", "measure").annotate(total=Sum("count")).order_by():
        counts[path][measure] = int(total)
    return _map_numbers(counts)


@dataclass(frozen=True)
class UsualTime:
    """Time that 95 % of the executions of a step took at most, over the last 7 days. Units: seconds."""

    seconds: float
    executions: int


def usual_time(run: Run, path: str) -> UsualTime | None:
    """Return the usual time of a step in the version of the run, or None without an execution. Cost: one statement."""
    rows = StepCount.objects.filter(
        tenant_id=run.tenant_id,
        definition_version=run.definition_version_id,
        hour__gte=timezone.now() - USUAL_WITHIN,
        step_path=path,
    )
    numbers = _numbers(dict(rows.values_list("measure").annotate(total=Sum("count")).order_by()))
    seconds = numbers.percentile(USUAL_SHARE)
    return UsualTime(seconds, int(numbers.executions)) if seconds is not None else None


def _map_numbers(counts: Mapping[str, Mapping[str, int]]) -> MapNumbers:
    ended = {name.removeprefix("ended."): total for name, total in counts.get("", {}).items()}
    return MapNumbers({path: _numbers(measures) for path, measures in counts.items() if path}, ended)


def _numbers(measures: Mapping[str, int]) -> StepNumbers:
    def of_kind(kind: str) -> dict[str, int]:
        return {name.removeprefix(kind): total for name, total in measures.items() if name.startswith(kind)}

    times = {int(bucket): total for bucket, total in of_kind("time.").items()}
    return StepNumbers(measures.get("failed", 0), measures.get("caught", 0), of_kind("branch."), times)


def open_runs(definition: Definition) -> OpenRuns:
    """Return the open runs of a definition by version and current step. Cost: one statement over `MOST_OPEN` runs."""
    values: dict[str, Any] = {
        "tenant": definition.tenant_id, "definition": definition.id, "started": list(STARTED_STATUSES),
        "decide": DECIDE_OUTCOME, "most": MOST_OPEN, "open": [status.value for status in OPEN_RUN_STATUSES],
        "open_tasks": [status.value for status in OPEN_TASK_STATUSES],
    }  # fmt: skip
    found: dict[int, dict[str, OpenNumbers]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, values)
        for version, path, *numbers in cursor.fetchall():
            found[version][path] = OpenNumbers(*numbers)
    return OpenRuns(dict(found))


def uncounted_runs(*, tenant_id: uuid.UUID) -> QuerySet[Run]:
    """Return the runs of a tenant with steps or an end that are not counted yet, oldest first."""
    is_uncounted = Q(counted_seq__lt=F("projection_seq")) | Q(ended_at__isnull=False, counted_seq__lt=WHOLLY_COUNTED)
    return Run.objects.filter(is_uncounted, tenant_id=tenant_id).order_by("projected_at")


def map_annotations(*, tenant_id: uuid.UUID) -> dict[str, Any]:
    """Return the annotations of a definition that its map needs.

    `newest_versions`: numbers of the newest versions. `uncounted_since`: time from which on the counters are
    incomplete, the first row of an index. It is None if all runs of the tenant are counted.
    """
    versions = DefinitionVersion.objects.filter(tenant_id=tenant_id, definition=OuterRef("pk")).order_by("-version")
    oldest = uncounted_runs(tenant_id=tenant_id).values("projected_at")[:1]
    return {
        "newest_versions": ArraySubquery(versions.values("version")[:SHOWN_VERSIONS]),
        "uncounted_since": Subquery(oldest),
    }
