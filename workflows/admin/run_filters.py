"""The filters of the run list: one form that reads the address of the page, selects the runs and names each filter.

Links to the run list use the names of its fields, for example
`?definition=payment&version=2&failed_step=root.steps[1]`.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin.views.main import ORDER_VAR, SEARCH_VAR
from django.db.models import QuerySet
from django.http import QueryDict

from workflows import status_marks
from workflows.admin.list_filters import DAY_LIMITS, PAGE_PARAMETERS, query_with
from workflows.admin.run_filter_fields import (
    DataMoment,
    IncidentNumber,
    Moment,
    choice_field,
    fields_of_data,
    text_field,
)
from workflows.models import Run
from workflows.selectors import run_list
from workflows.selectors.attention import RUN_PROBLEM_WORDS, runs_with_problem
from workflows.selectors.incidents import runs_of_incident
from workflows.selectors.run_search import Ranges, runs_in_ranges, search_ranges
from workflows.selectors.run_values import SearchPath, runs_with_value
from workflows.statuses import TriggerType
from workflows.templatetags.times import local_time, zone_name

STATUS = "status__exact"
COLUMNS_VAR = "cols"
AGES = {"15m": "15 minutes", "1h": "1 hour", "24h": "24 hours", "7d": "7 days", "30d": "30 days"}
# Parts of the work of an incident that a choice of `replays` lists: the counted runs, and the replays of these runs.
WORK_OF_INCIDENT = {run_list.NEWEST_REPLAYS: (False, True), run_list.DECIDING: (True, True)}
DATA = "data."
STEPS = ("failed_step", "current_step")
# Above this number, the field for the definition is a text with suggestions.
MOST_DEFINITIONS = 200
MOMENTS = ("created_at_from", "created_at_to")


@dataclass(frozen=True)
class Choices:
    """Values that the form offers: the name of each definition by its key, and the title of each step by its path.

    `steps` is None unless the list shows one definition. Each definition has its own steps.
    """

    definitions: dict[str, str]
    steps: dict[str, str] | None = None


class RunListForm(forms.Form):
    """Filters of the run list. A field without a value selects all runs."""

    use_required_attribute = False
    _ranges: Ranges | None = None

    q = text_field("Key or id", longest=1000)
    status__exact = choice_field(
        "Status",
        {run_list.OPEN: "Open", **{value: status_marks.RUN[value].word for value in run_list.SHOWN_STATUSES}},
    )
    definition = text_field("Definition", "key of the definition")  # a list of names if there are not too many
    version = forms.IntegerField(
        label="Version", required=False, min_value=1, max_value=2**31 - 1,
        widget=forms.NumberInput(attrs={"class": "in"}),
    )  # fmt: skip
    state = text_field("State", "set by the author")
    error_code = text_field("Error code", "for example NOT_FOUND")
    error_category = text_field("Error category")
    incident = IncidentNumber()
    failed_step = text_field("Failed step", longest=500)
    current_step = text_field("Current step", longest=500)
    waits_for = text_field("Waits for event", "event type")
    started = choice_field("Started", {span: f"in the last {words}" for span, words in AGES.items()}, "At any time")
    age = choice_field("Open for", {span: f"more than {words}" for span, words in AGES.items()}, "Any time")
    problem = choice_field("Problem", {problem.value: words for problem, words in RUN_PROBLEM_WORDS.items()})
    replays = choice_field("Replays", run_list.REPLAY_CHOICES, "With replays")
    trigger_type__exact = choice_field("Trigger", {str(value): str(label) for value, label in TriggerType.choices})
    created_at_from = Moment("Started at or after")
    created_at_to = Moment("Started at or before")

    def __init__(self, query: QueryDict, paths: Sequence[SearchPath] = (), choices: Choices | None = None) -> None:
        super().__init__(_with_times(query))
        self.query = query
        self.paths = paths
        self.offered: dict[str, dict[str, str]] = {}
        if choices is not None:
            self._offer(choices)
        for path in paths:
            self.fields |= fields_of_data(path)

    def _offer(self, choices: Choices) -> None:
        """Show definitions and steps as lists. A value of the address that is not in a list is shown too."""
        if len(choices.definitions) <= MOST_DEFINITIONS:
            self.offered["definition"] = choices.definitions
        else:
            self.fields["definition"].widget.attrs["list"] = "definitions"
        for name in STEPS:
            if choices.steps is not None:
                self.offered[name] = choices.steps
            elif not self.query.get(name):
                del self.fields[name]
        for name, words in self.offered.items():
            given = self.query.get(name, "")
            others = {given: given} if given and given not in words else {}
            every = [("", "Any"), *{**words, **others}.items()]
            self.fields[name].widget = forms.Select(attrs={"class": "in"}, choices=every)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("version") and not cleaned.get("definition"):
            self.add_error("version", "Choose a definition too, because each definition counts its own versions.")
        return cleaned

    @property
    def zoned(self) -> set[str]:
        """Return the names of the fields that are read in the time zone of the page."""
        return {*MOMENTS, *(name for name, field in self.fields.items() if isinstance(field, DataMoment))}

    @property
    def names(self) -> set[str]:
        """Return the names of the query parameters."""
        return {name for name in self.fields if name not in MOMENTS} | {
            f"{name}_{part}" for name in MOMENTS for part in (0, 1)
        }

    def select(self, runs: QuerySet[Run], *, tenant_id: uuid.UUID, leave_out: Collection[str] = ()) -> QuerySet[Run]:
        """Return the runs that match all filters, except those in `leave_out`. The form must be valid."""
        given = {name: value for name, value in self.cleaned_data.items() if value and name not in leave_out}
        columns = {
            "definition": "definition_key", "version": "version", "state": "state", "error_code": "error_code",
            "error_category": "error_category", "failed_step": "failed_step_path",
            "trigger_type__exact": "trigger_type", "created_at_from": "created_at__gte",
            "created_at_to": "created_at__lte",
        }  # fmt: skip
        runs = runs.filter(**{column: given[name] for name, column in columns.items() if name in given})
        for name, narrow in _NARROW.items():
            if name in given:
                runs = narrow(runs, given[name])
        for path in self.paths:
            limits = {
                "begins": path.name, "equals": f"{path.name}.is", "low": f"{path.name}.from", "high": f"{path.name}.to",
            }  # fmt: skip
            wanted = {limit: self.cleaned_data.get(name) for limit, name in limits.items()}
            wanted = {limit: value for limit, value in wanted.items() if value not in (None, "")}
            if wanted:
                runs = runs_with_value(runs, path, tenant_id=tenant_id, **wanted)
        if "replays" in given:
            choice = given["replays"]
            if "incident" in given and choice == run_list.NOT_REPLAYED:
                choice = run_list.DECIDING  # a run of an incident can be a replay, which has no newer run then
            runs = run_list.runs_by_replays(runs, choice, tenant_id=tenant_id)
        if "problem" in given:
            runs = runs_with_problem(runs, given["problem"], tenant_id=tenant_id)
        if STATUS in given:
            runs = run_list.runs_of_shown_status(runs, tenant_id=tenant_id, status=given[STATUS])
        if "incident" in given:
            parts = WORK_OF_INCIDENT.get(given.get("replays", ""), (True, False))
            runs = runs_of_incident(runs, *parts, tenant_id=tenant_id, number=given["incident"])
        return runs_in_ranges(runs, self.search_ranges(tenant_id)) if "q" in given else runs

    def search_ranges(self, tenant_id: uuid.UUID) -> Ranges:
        """Return the ranges of the search. They are read once, for the list and for its counts."""
        if self._ranges is None:
            self._ranges = search_ranges(tenant_id=tenant_id, term=self.cleaned_data["q"])
        return self._ranges


_NARROW = {
    "current_step": run_list.runs_at_step,
    "waits_for": run_list.runs_waiting_for,
    "started": run_list.runs_started_within,
    "age": run_list.runs_open_longer_than,
}


def _with_times(query: QueryDict) -> QueryDict:
    """Add the first or last time of the day to a date without a time."""
    data = query.copy()
    for end, limit in DAY_LIMITS.items():
        if data.get(f"created_at_{end}_0") and not data.get(f"created_at_{end}_1"):
            data[f"created_at_{end}_1"] = limit
    return data


@dataclass(frozen=True)
class Token:
    """A chosen filter with its words. `without` is the query string of the list without this filter."""

    label: str
    value: str
    without: str


def tokens_of(form: RunListForm, names: dict[str, str]) -> list[Token]:
    """Return the chosen filters except status and search. `names` has the name of each definition by its key."""
    chosen = [name for name, value in form.cleaned_data.items() if value not in (None, "")]
    chosen = [name for name in chosen if name not in (STATUS, SEARCH_VAR)]
    return [Token(_label(form, name), _words(form, name, names), without(form, name)) for name in chosen]


def _label(form: RunListForm, name: str) -> str:
    return str(form.fields[name].label)


def _words(form: RunListForm, name: str, names: dict[str, str]) -> str:
    value = form.cleaned_data[name]
    if isinstance(value, datetime):
        return f"{local_time(value):%Y-%m-%d %H:%M:%S} {zone_name(value)}"
    if isinstance(value, float):
        return f"{value:,.12g}"
    field = form.fields[name]
    if isinstance(field, forms.ChoiceField):
        return str(dict(field.choices)[value])  # type: ignore[arg-type]
    if name == "incident":
        return f"INC-{value}"
    if name == "definition":
        return names.get(str(value), str(value))
    return form.offered.get(name, {}).get(str(value), str(value))


def without(form: RunListForm, *names: str) -> str:
    """Return the query string of the list without these filters. It keeps the order and the columns."""
    query = form.query.copy()
    for name in (*names, *PAGE_PARAMETERS):
        for parameter in (name, f"{name}_0", f"{name}_1"):
            query.pop(parameter, None)
    if "definition" in names:
        _drop_what_belongs_to_a_definition(query)
    return f"?{query.urlencode()}"


def cleared(form: RunListForm) -> str:
    """Return the query string without any filter."""
    query = form.query.copy()
    for name in form.query:
        if name not in (ORDER_VAR, COLUMNS_VAR):
            query.pop(name)
    _drop_what_belongs_to_a_definition(query)
    return f"?{query.urlencode()}"


def count_work_once(form: RunListForm) -> dict[str, str] | None:
    """Return the link that lists only the newest run of each work, unless the list is filtered by replays already."""
    if form.cleaned_data.get("replays"):
        return None
    query = query_with(form.query, "replays", run_list.DECIDING)
    return {"note": "Replays are counted too", "word": "Count a run and its replays once", "query": query}


def _drop_what_belongs_to_a_definition(query: QueryDict) -> None:
    """Remove the version, the step and the business data, because they mean nothing without their definition."""
    for name in [name for name in query if name in ("version", *STEPS) or name.startswith(DATA)]:
        query.pop(name)
    if query.get(ORDER_VAR, "").removeprefix("-").startswith(DATA):
        query.pop(ORDER_VAR)
    columns = [name for name in query.getlist(COLUMNS_VAR) if not name.startswith(DATA)]
    query.setlist(COLUMNS_VAR, columns)
