"""Filters of the admin lists.

If a filter does not exist or cannot be read, the list shows an error and no rows. Django would ignore such a filter and
show all rows. An action on "all rows of this filter" would then change all rows of the tenant.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin.options import IS_FACETS_VAR, IncorrectLookupParameters
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.views import ChangeList

from workflows.errors import unknown_name

LIST_PARAMETERS = frozenset({SEARCH_VAR, ORDER_VAR, PAGE_VAR, ALL_VAR, IS_FACETS_VAR})
DAY_LIMITS = {"from": "00:00:00", "to": "23:59:59.999999"}


class DateTimeRangeFilter(RangeDateTimeFilter):
    """Filter by a range of times. If an end of the range has a date but no time, it includes the whole day."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for end, limit in DAY_LIMITS.items():
            date, time = f"{self.parameter_name}_{end}_0", f"{self.parameter_name}_{end}_1"
            if self.used_parameters.get(date) and not self.used_parameters.get(time):
                self.used_parameters[time] = limit

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Filter by the values of the form. So the list uses the same values as the errors beside the fields."""
        form = next(iter(self.choices(None)))["form"]
        if not form.is_valid():
            return queryset.none()
        for end, lookup in (("from", "gte"), ("to", "lte")):
            value = form.cleaned_data[f"{self.parameter_name}_{end}"]
            queryset = queryset.filter(**{f"{self.field_path}__{lookup}": value}) if value else queryset
        return queryset


class TextFilter(DropdownFilter):
    """Filter by a text. The list offers known texts. The URL may also contain any other text."""

    lookup_choices: list[tuple[str, str]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        value = self.value()
        if value and "\x00" not in value and value not in dict(self.lookup_choices):
            self.lookup_choices = [*self.lookup_choices, (value, value)]


class CheckedChangeList(ChangeList):
    """List that shows no rows if a filter cannot be read. `problems` has the error text for each wrong parameter."""

    queryset: QuerySet[Any]

    def __init__(self, request: HttpRequest, *args: Any, **options: Any) -> None:
        self.problems: dict[str, str] = {}
        super().__init__(request, *args, **options)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Return the parameters of filters.

        Leave out empty parameters. The form sends an empty parameter for each filter without a choice.
        """
        known = filter_names(self.list_filter)
        chosen: dict[str, Any] = super().get_filters_params(params)
        return {name: values for name, values in chosen.items() if name in known and any(values)}

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        self.problems = dict(_problems(self, request, found[0]))
        return found

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        return rows.none() if self.problems else rows

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except IncorrectLookupParameters:
            self.problems[PAGE_VAR] = "There is no such page."
            self.queryset, self.page_num = self.queryset.none(), 1
            super().get_results(request)


def filter_names(list_filter: Any) -> set[str]:
    """Return the names of the query parameters of these filters."""
    names: set[str] = set()
    for entry in list_filter:
        if isinstance(entry, type):
            names.add(str(entry.parameter_name))  # type: ignore[attr-defined]
        elif issubclass(entry[1], RangeDateTimeFilter):
            names |= {f"{entry[0]}_{end}_{part}" for end in DAY_LIMITS for part in (0, 1)}
        else:
            names.add(f"{entry[0]}__exact")
    return names


def chosen_filters(request: HttpRequest, list_filter: Any) -> dict[str, list[str]]:
    """Return the search and the filters in the URL that are not empty."""
    known = {SEARCH_VAR, *filter_names(list_filter)}
    chosen = {name: [value for value in values if value.strip()] for name, values in request.GET.lists()}
    return {name: values for name, values in chosen.items() if values and name in known}


def show_problems(request: HttpRequest, problems: dict[str, str]) -> None:
    """Add a message to the page. The message names the filters that cannot be read."""
    texts = " ".join(f"{name}: {text}" for name, text in problems.items())
    messages.error(
        request, f"The list shows no rows, because a filter cannot be read. {texts} Correct the filter or remove it."
    )


def _problems(shown: CheckedChangeList, request: HttpRequest, specs: list[Any]) -> Iterator[tuple[str, str]]:
    known = filter_names(shown.list_filter)
    for name in request.GET:
        if name not in known | LIST_PARAMETERS:
            yield name[:100], unknown_name(name, known | {SEARCH_VAR}, kind="filter")
    for errors in shown.search_form_class(request.GET).errors.values():
        yield SEARCH_VAR, " ".join(map(str, errors))
    page = request.GET.get(PAGE_VAR, "1")
    if not (page.isascii() and page.isdecimal() and len(page) <= 9 and int(page) > 0):
        yield PAGE_VAR, "The page must be a whole number above 0."
    read: set[str] = set()
    for spec in specs:
        form = next(iter(spec.choices(None)))["form"]  # no list is passed, so no counts are computed
        read |= {name for name in known if any(name == field or name.startswith(f"{field}_") for field in form.fields)}
        for field, errors in form.errors.items():
            yield field, " ".join(map(str, errors))
    for name in known - read:  # a filter that offers no choice is not shown, and Django then ignores its value
        if any(request.GET.getlist(name)):
            yield name, "There is nothing with this value."
