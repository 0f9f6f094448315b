"""Business data in the run list: the paths that a member may see, the runs with a value, and the values of a page."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Length

from workflows.actors import Actor
from workflows.models import Definition, Run, RunValue
from workflows.models.fields import folded, folded_prefix
from workflows.models.run_values import is_variable
from workflows.redaction import Rules, redact_at, redact_output, rules_of

TEXT, NUMBER, MONEY, BOOLEAN, DATE = "text", "number", "money", "boolean", "date"
# Column of `RunValue` that a type is sorted by and compared with.
VALUE_COLUMNS = {TEXT: "text", BOOLEAN: "text", NUMBER: "number", MONEY: "number", DATE: "moment"}
# Longest stored text of a date without a time, for example 2026-11-24.
LONGEST_DATE = 10


@dataclass(frozen=True)
class SearchPath:
    """Place of business data in the payload, or in the variables at the end, of a definition's runs.

    `kind` is the declared type. `declared_label` and `currency` can be empty.
    """

    definition_id: uuid.UUID
    path: str
    kind: str
    declared_label: str = ""
    currency: str = ""

    @property
    def label(self) -> str:
        """Return the declared label, or the words of the path: `customer.lastName` is "Customer lastName"."""
        words = self.path.removeprefix("payload.").removeprefix("vars.").replace(".", " ").replace("_", " ")
        return self.declared_label or words[:1].upper() + words[1:]

    @property
    def is_number(self) -> bool:
        return self.kind in (NUMBER, MONEY)

    @property
    def name(self) -> str:
        """Return the name of the column and of the query parameter."""
        return f"data.{self.path}"


def search_paths_of(actor: Actor, definition_key: str) -> list[SearchPath]:
    """Return the search paths of a definition whose values the actor may see.

    A path that a redaction rule hides is left out, because a filter could find out the hidden value.
    Cost: one statement if a definition is given, and one more if it has search paths.
    """
    if not definition_key or "\x00" in definition_key or not actor.sees_payloads:
        return []
    found = Definition.objects.filter(tenant_id=actor.tenant_id, key=definition_key).values_list("id", "search_paths")
    row = found.first()
    definition_id, paths = row or (uuid.UUID(int=0), None)
    if not paths:
        return []
    return search_paths_in(definition_id, paths, rules_of(actor.tenant_id))


def search_paths_in(definition_id: uuid.UUID, declared: list[dict[str, str]] | None, rules: Rules) -> list[SearchPath]:
    """Return the search paths of a definition that no redaction rule hides. `declared` is its setting."""
    return [
        SearchPath(definition_id, item["path"], item["type"], item.get("label", ""), item.get("currency", ""))
        for item in declared or ()
        if _is_shown(item["path"], rules)
    ]


def _is_shown(path: str, rules: Rules) -> bool:
    if not is_variable(path):
        return bool(redact_at(f"payload.{path.removeprefix('payload.')}", "x", rules) == "x")
    nested: Any = "x"
    for name in reversed(path.split(".")):
        nested = {name: nested}
    return bool(redact_output(nested, rules) == nested)


def runs_sorted_by_value(runs: QuerySet[Run], path: SearchPath, *, tenant_id: uuid.UUID) -> QuerySet[Run]:
    """Return the runs that have a value at this path. `value_order` is the name of the column to sort them by.

    An index has the values of a path in their order.
    """
    return runs.filter(
        values__tenant_id=tenant_id, values__definition_id=path.definition_id, values__path=path.path,
        **{f"{value_order(path)}__isnull": False},
    )  # fmt: skip


def value_order(path: SearchPath) -> str:
    return f"values__{VALUE_COLUMNS[path.kind]}"


def runs_with_value(runs: QuerySet[Run], path: SearchPath, *, tenant_id: uuid.UUID, **given: Any) -> QuerySet[Run]:
    """Return the runs with this value.

    `given` has `begins` or `equals` for text and truth in any letter case, or `low` and `high` for a range.
    """
    values = RunValue.objects.filter(tenant_id=tenant_id, definition_id=path.definition_id, path=path.path)
    if "begins" in given:
        values = values.filter(folded_prefix("text", given["begins"]))
    if "equals" in given:
        values = values.filter(text=folded(given["equals"]))
    if path.kind == DATE:
        values = _values_between(values, given.get("low"), given.get("high"))
    elif path.is_number:
        limits = {"number__gte": given.get("low"), "number__lte": given.get("high")}
        values = values.filter(**{name: limit for name, limit in limits.items() if limit is not None})
    return runs.filter(id__in=values.values("run_id"))


def _values_between(values: QuerySet[RunValue], low: datetime | None, high: datetime | None) -> QuerySet[RunValue]:
    """Return the dates and times of a range. Both ends belong to it.

    A stored date without a time is a day in every time zone. It is compared with the days of both ends, in the time
    zones of the ends. The wider range of both comparisons uses the index.
    """
    days, times = Q(length__lte=LONGEST_DATE), Q(length__gt=LONGEST_DATE)
    for lookup, limit, widest in (("gte", low, min), ("lte", high, max)):
        if limit is not None:
            day = datetime.combine(limit, time.min, UTC)
            days &= Q(**{f"moment__{lookup}": day})
            times &= Q(**{f"moment__{lookup}": limit})
            values = values.filter(**{f"moment__{lookup}": widest(day, limit)})
    return values.alias(length=Length("shown")).filter(days | times)


def values_of_runs(
    run_ids: list[uuid.UUID], paths: Sequence[SearchPath], *, tenant_id: uuid.UUID
) -> dict[uuid.UUID, dict[str, str]]:
    """Return the values of these runs by the name of their column. Cost: one statement."""
    found: dict[uuid.UUID, dict[str, str]] = defaultdict(dict)
    if run_ids and paths:
        rows = RunValue.objects.filter(tenant_id=tenant_id, run__in=run_ids, path__in=[path.path for path in paths])
        for run_id, path, shown in rows.values_list("run_id", "path", "shown"):
            found[run_id][f"data.{path}"] = shown
    return found
