"""Filters of lists by a problem. The dashboard counts the same rows and links to these lists.

The filter of the run list is in `run_filters.py`.

Source: docs/reference/screens.md#dashboard
"""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from workflows.models import Definition, Event, Schedule
from workflows.selectors.attention import (
    EVENT_PROBLEM_WORDS,
    EventProblem,
    auto_paused_definitions,
    events_with_problem,
)
from workflows.selectors.schedules import SCHEDULE_PROBLEM_WORDS, ScheduleProblem, schedules_with_problem


class DefinitionProblemFilter(DropdownFilter):
    title = "problem"
    parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("auto_paused", "Paused by the portal, because too many runs failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Definition]) -> QuerySet[Definition]:
        return auto_paused_definitions(queryset).order_by() if self.value() == "auto_paused" else queryset


class EventProblemFilter(DropdownFilter):
    title = "problem"
    parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(problem.value, words) for problem, words in EVENT_PROBLEM_WORDS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        known = self.value() in set(EventProblem)
        return events_with_problem(queryset, str(self.value())).order_by() if known else queryset


class ScheduleProblemFilter(DropdownFilter):
    title = "problem"
    parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(SCHEDULE_PROBLEM_WORDS.items())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> QuerySet[Schedule]:
        known = self.value() in set(ScheduleProblem)
        return schedules_with_problem(queryset, str(self.value())).order_by() if known else queryset
