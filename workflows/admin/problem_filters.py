"""Filters of lists by a problem. The dashboard counts the same rows and links to these lists.

The filter of the run list is in `run_filters.py`.

Source: docs/reference/screens.md#dashboard
"""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from workflows.models import Definition
from workflows.selectors.attention import auto_paused_definitions


class DefinitionProblemFilter(DropdownFilter):
    title = "problem"
    parameter_name = "problem"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("auto_paused", "Paused by the portal, because too many runs failed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Definition]) -> QuerySet[Definition]:
        return auto_paused_definitions(queryset).order_by() if self.value() == "auto_paused" else queryset
