"""The run list as a list of the admin: its filters, orders and columns come from the address of the page."""

import uuid
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.db import OperationalError
from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, When
from django.http import HttpRequest

from workflows.admin.base import actor_of
from workflows.admin.business_data import value_words
from workflows.admin.list_filters import (
    LIST_SECONDS,
    PAGE_PARAMETERS,
    TOO_SLOW,
    CheckedChangeList,
    unknown_parameters,
)
from workflows.admin.run_chips import Chip, chips_of
from workflows.admin.run_filters import (
    COLUMNS_VAR,
    MOMENTS,
    MOST_DEFINITIONS,
    STATUS,
    Choices,
    RunListForm,
    cleared,
    count_work_once,
    tokens_of,
    without,
)
from workflows.database_errors import is_canceled
from workflows.engine.definition import parse_definition
from workflows.errors import unknown_name
from workflows.models import Definition, DefinitionVersion, Run
from workflows.models.statements import statement_limit
from workflows.outline.nodes import nodes_of
from workflows.redaction import rules_in
from workflows.selectors.navigation import navigation_columns, navigation_of
from workflows.selectors.run_list import ENDED_SHOWN_STATUSES, SHOWN_STATUSES, StatusCounts, shown_status_counts
from workflows.selectors.run_rows import run_rows, runs_explained
from workflows.selectors.run_search import exact_first, runs_by_range
from workflows.selectors.run_values import (
    SearchPath,
    runs_sorted_by_value,
    search_paths_in,
    value_order,
    values_of_runs,
)
from workflows.statuses import OPEN_RUN_STATUSES

# Each order has an index that begins with the tenant. A name with "-" reads the index from the other end.
ORDERS = {
    "started": ("created_at", "id"),
    "key": ("correlation_key_folded", "id"),
    "status": ("status", "-created_at"),
    "definition": ("definition_key", "-created_at"),
    "trigger": ("trigger_type", "-created_at"),
    "state": ("state", "-created_at"),
    "what": ("error_code", "-created_at"),
    "ended": ("ended_at", "id"),
    "took": ("took", "id"),
}
# Orders by a value that many runs do not have. Their indexes have only the runs with a value, and so has the list.
PARTIAL_ORDERS = {
    "state": ("State", ~Q(state="")),
    "what": ("Error code", ~Q(error_code="")),
    "ended": ("Ended", Q(ended_at__isnull=False)),
    "took": ("Took", Q(ended_at__isnull=False)),
}
NEWEST_FIRST = "-started"
COLUMNS = {
    "definition": "Definition", "state": "State", "trigger": "Trigger", "what": "Error or current step",
    "started": "Started", "ended": "Ended", "took": "Took",
}  # fmt: skip
NUMBER_COLUMNS = dict.fromkeys(("started", "ended", "took"), "num")
NOT_COUNTED = "The runs could not be counted in one second, so the list shows no numbers."
DEFAULT_COLUMNS = ("what", "started", "took")
# Number of columns with business data that are shown by default.
DEFAULT_DATA = 2


class RunChangeList(CheckedChangeList):
    form: RunListForm
    tenant_id: uuid.UUID

    def get_filters(self, request: HttpRequest) -> Any:
        self.tenant_id = actor_of(request).tenant_id
        key = request.GET.get("definition", "")
        definitions = definitions_to_choose(self.tenant_id, key, request.GET.get("version", ""))
        if definitions:
            request.navigation_counts = navigation_of(vars(definitions[0]))  # type: ignore[attr-defined]
        self.definitions = {row.key: row.name for row in sorted(definitions, key=lambda row: row.name.casefold())}
        chosen = next((row for row in definitions if row.key == key), None)
        choices = Choices(self.definitions, _steps(chosen))
        self.form = RunListForm(request.GET, _paths(request, chosen), choices)
        self.problems = dict(self._problems(request))
        is_active = any(value not in (None, "") for value in self.form.cleaned_data.values())
        return [], False, {}, False, is_active

    @property
    def columns(self) -> dict[str, str]:
        """Return the words of the columns that can be chosen. Business data come first."""
        return {path.name: path.label for path in self.form.paths} | COLUMNS

    @property
    def sorted_by(self) -> SearchPath | None:
        """Return the business data by which the list is sorted."""
        return next((path for path in self.form.paths if path.name == self._order), None)

    @property
    def left_out(self) -> str:
        """Return the name of the value by which the list is sorted, if it leaves out the runs without this value."""
        label, _ = PARTIAL_ORDERS.get(self._order, ("", None))
        return self.sorted_by.label if self.sorted_by else label

    @property
    def _order(self) -> str:
        return str(self.params.get(ORDER_VAR, "")).removeprefix("-")

    @property
    def orders(self) -> dict[str, tuple[str, str]]:
        return ORDERS | {path.name: (value_order(path), "id") for path in self.form.paths}

    def selected(self, runs: QuerySet[Run], *, leave_out: Collection[str] = ()) -> QuerySet[Run]:
        """Return the runs of the list, or of the list without some filters."""
        runs = self.form.select(runs, tenant_id=self.tenant_id, leave_out=leave_out)
        if self._order in PARTIAL_ORDERS:
            runs = runs.filter(PARTIAL_ORDERS[self._order][1])
        return runs_sorted_by_value(runs, self.sorted_by, tenant_id=self.tenant_id) if self.sorted_by else runs

    def counts(self) -> StatusCounts | None:
        """Return the number of runs of each status, with the other filters of the list. Cost: one statement.

        No index has the runs of a search, or those with a state, an error code or a value, by their status.
        """
        every = Run.objects.filter(tenant_id=self.tenant_id)
        count = partial(shown_status_counts, tenant_id=self.tenant_id)
        others = self.selected(every, leave_out=[STATUS, SEARCH_VAR])
        if self.form.cleaned_data.get(SEARCH_VAR):
            return count(others, ranges=runs_by_range(others, self.form.search_ranges(self.tenant_id)))
        if self.sorted_by or self._order in ("state", "what"):
            return count(others, ranges=[others.order_by(self.orders[self._order][0])])
        return count(others, statuses=ENDED_SHOWN_STATUSES if self._order in PARTIAL_ORDERS else SHOWN_STATUSES)

    def _problems(self, request: HttpRequest) -> Iterator[tuple[str, str]]:
        yield from unknown_parameters(request, {*self.form.names, COLUMNS_VAR})
        yield from ((name, " ".join(map(str, errors))) for name, errors in self.form.errors.items())
        order = request.GET.get(ORDER_VAR, "")
        if order and order.removeprefix("-") not in self.orders:
            yield ORDER_VAR, f"The list can be sorted by {', '.join(self.orders)}."
        for name in request.GET.getlist(COLUMNS_VAR):
            if name not in self.columns:
                yield COLUMNS_VAR, unknown_name(name, self.columns, kind="column")

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Run]:
        self.filter_specs, self.has_filters, _, _, self.has_active_filters = self.get_filters(request)
        rows: QuerySet[Run] = self.root_queryset
        if self.problems:
            return rows.none()
        try:
            with statement_limit(LIST_SECONDS):
                rows = self.selected(rows)
        except OperationalError as error:
            if not is_canceled(error):
                raise
            self.problems[SEARCH_VAR] = TOO_SLOW
            return rows.none()
        ordering: list[Any] = self.get_ordering(request, rows)
        term = self.form.cleaned_data.get(SEARCH_VAR, "")
        if term and not request.GET.get(ORDER_VAR):
            exact = exact_first(self.root_queryset, term=term)
            ordering = [exact, *ordering] if exact else ordering
        return rows.order_by(*ordering)

    def explained(self, rows: QuerySet[Run]) -> QuerySet[Run]:
        return runs_explained(rows)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Run]) -> list[str]:
        order = request.GET.get(ORDER_VAR) or NEWEST_FIRST
        names = self.orders[order.removeprefix("-")]
        return list(names) if not order.startswith("-") else [_reversed(name) for name in names]


def definitions_to_choose(tenant_id: uuid.UUID, key: str, version: str) -> list[Definition]:
    """Return the chosen definition and the others by name, at most one more than the form offers as a list.

    The chosen definition has the text of the chosen version, or else of the published one, as `text`. Each row has the
    counts of the navigation, which the database reads once. Cost: one statement.
    """
    rows = Definition.objects.filter(tenant_id=tenant_id).only("key", "name", "search_paths").order_by("name")
    rows = rows.annotate(**navigation_columns(tenant_id))
    if key and "\x00" not in key:
        text: Any = F("published_version__canonical_text")
        if version.isascii() and version.isdecimal() and len(version) < 10:
            versions = DefinitionVersion.objects.filter(
                tenant_id=tenant_id, definition=OuterRef("pk"), version=int(version)
            )
            text = Subquery(versions.values("canonical_text")[:1])
        rows = rows.annotate(text=Case(When(key=key, then=text))).order_by(
            Case(When(key=key, then=0), default=1), "name"
        )
    return list(rows[: MOST_DEFINITIONS + 1])


def _steps(definition: Definition | None) -> dict[str, str] | None:
    """Return the titles of the steps of the chosen definition by path, or None without a definition."""
    text = getattr(definition, "text", None)
    return None if text is None else {node.path: node.title for node in nodes_of(parse_definition(text))}


def _paths(request: HttpRequest, definition: Definition | None) -> list[SearchPath]:
    """Return the search paths of the chosen definition whose values the member may see."""
    if definition is None or not actor_of(request).sees_payloads:
        return []
    rules = rules_in(request.tenant)  # type: ignore[attr-defined]
    return search_paths_in(definition.id, definition.search_paths, rules)


def _reversed(name: str) -> str:
    return name.removeprefix("-") if name.startswith("-") else f"-{name}"


def list_context(shown: RunChangeList, request: HttpRequest) -> dict[str, Any]:
    """Return what the template shows. Cost: at most four statements beside the rows of the page."""
    form, tenant_id = shown.form, shown.tenant_id
    chips: list[Chip] = []
    if not shown.problems:
        chips = chips_of(form, shown.counts())
    chosen = next((chip for chip in chips if chip.is_chosen), None)
    rules = rules_in(request.tenant)  # type: ignore[attr-defined]
    data = [path.name for path in form.paths]
    columns = [name for name in request.GET.getlist(COLUMNS_VAR) if name in shown.columns]
    columns = columns or [*data[:DEFAULT_DATA], *DEFAULT_COLUMNS]
    rows = run_rows(
        list(shown.result_list), tenant_id=tenant_id, names=shown.definitions, rules=rules,
        sees_payloads=actor_of(request).sees_payloads,
    )  # fmt: skip
    values = values_of_runs([row.run.id for row in rows], form.paths, tenant_id=tenant_id)
    for row in rows:
        found = values.get(row.run.id, {})
        row.data = {path.name: value_words(path, found[path.name]) for path in form.paths if path.name in found}
    return {
        "form": form,
        "kept": [
            (name, value)
            for name, values in form.query.lists()
            if name not in (SEARCH_VAR, *PAGE_PARAMETERS)
            for value in values
        ],
        "search": form.query.get(SEARCH_VAR, ""),
        "moments": MOMENTS,
        "search_label": "Key that begins or ends with this text, or an id",
        "is_filtered": shown.has_active_filters,
        "chips_note": NOT_COUNTED if chosen and chosen.count is None else "",
        "problem_lines": {name: text for name, text in shown.problems.items() if name == SEARCH_VAR},
        "chips": chips,
        "total": chosen.number if chosen else "",
        "tokens": [] if shown.problems else tokens_of(form, shown.definitions),
        "definitions": shown.definitions if "definition" not in form.offered else {},
        "is_one_definition": bool(form.cleaned_data.get("definition")),
        "rows": rows,
        "data_columns": {path.name: "num" if path.is_number else "" for path in form.paths},
        "column_classes": NUMBER_COLUMNS | {path.name: "num" for path in form.paths if path.is_number},
        "left_out": shown.left_out,
        "columns": columns,
        "all_columns": shown.columns,
        "columns_query": without(form, COLUMNS_VAR),
        "orders": _orders(shown, request),
        "cleared": cleared(form),
        "export_query": without(form, ORDER_VAR),
        "has_chosen_columns": COLUMNS_VAR in request.GET,
        "quick_filter": count_work_once(form),
        "problems": shown.problems,
        "open_statuses": OPEN_RUN_STATUSES,
    }


def _orders(shown: RunChangeList, request: HttpRequest) -> dict[str, dict[str, str]]:
    """Return for each order the link that sorts by it, and how the list is sorted now."""
    now = request.GET.get(ORDER_VAR) or NEWEST_FIRST
    found = {}
    for name in shown.orders:
        is_descending = now == f"-{name}"
        query = shown.form.query.copy()
        for parameter in PAGE_PARAMETERS:
            query.pop(parameter, None)
        # The first click shows the newest or longest runs first, and other columns from their beginning.
        first = f"-{name}" if name in NUMBER_COLUMNS else name
        query[ORDER_VAR] = (name if is_descending else f"-{name}") if now.removeprefix("-") == name else first
        direction = "" if now.removeprefix("-") != name else "descending" if is_descending else "ascending"
        found[name] = {"query": f"?{query.urlencode()}", "direction": direction}
    return found
