"""Filters of the admin lists.

If a filter does not exist or cannot be read, the list shows an error and no rows. Django would ignore such a filter and
show all rows. An action on "all rows of this filter" would then change all rows of the tenant.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin.options import IS_FACETS_VAR
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.views import ChangeList

from workflows.database_errors import is_canceled
from workflows.errors import unknown_name
from workflows.models.statements import statement_limit
from workflows.selectors.keyset import POSITION_VAR, KeysetPage, keyset_page

# Old addresses have the number of a page instead of a position. They lead to the first page.
PAGE_PARAMETERS = (POSITION_VAR, PAGE_VAR)
LIST_PARAMETERS = frozenset({SEARCH_VAR, ORDER_VAR, ALL_VAR, IS_FACETS_VAR, *PAGE_PARAMETERS})
LIST_SECONDS = 5.0
NOT_COUNTED = "The rows could not be counted in one second, so the list shows no numbers."
TOO_SLOW = (
    f"The search took longer than {LIST_SECONDS:g} s and was stopped. Search for a longer beginning of the key, or add"
    " a filter for the time or the status."
)
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
    result_list: Any
    page: KeysetPage

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

    def rows_without(self, request: HttpRequest, name: str) -> QuerySet[Any]:
        """Return the rows of the list without the filter of one parameter. The chips of this filter count them."""
        rows = self.root_queryset
        for spec in self.filter_specs:
            chosen = None if name in spec.expected_parameters() else spec.queryset(request, rows)
            rows = rows if chosen is None else chosen
        found: QuerySet[Any] = self.model_admin.get_search_results(request, rows, self.query)[0]
        return found.none() if self.problems else found

    def explained(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows with what only a page of the list shows. An export or an action does not need it."""
        return rows

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page. If they take too long, the list shows an error at the search and no rows."""
        self.page_num, self.page = 1, KeysetPage([])
        self.opts = self.model_admin.opts  # with the names that the admin class gives to its rows
        try:
            with statement_limit(LIST_SECONDS):
                super().get_results(request)
                if request.method in ("GET", "HEAD"):  # a POST uses only the query
                    position = request.GET.get(POSITION_VAR, "")
                    self.page = keyset_page(self.explained(self.queryset), at=position, size=self.list_per_page)
        except OperationalError as error:
            if not is_canceled(error):
                raise
            self.problems[SEARCH_VAR] = TOO_SLOW
            self.queryset = self.queryset.none()
            super().get_results(request)
        self.result_list = self.page.rows


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


def chosen_filters(request: HttpRequest, known: set[str]) -> dict[str, list[str]]:
    """Return those of the known filters in the URL that are not empty."""
    chosen = {name: [value for value in values if value.strip()] for name, values in request.GET.lists()}
    return {name: values for name, values in chosen.items() if values and name in known}


def query_with(query: QueryDict, name: str, value: str) -> str:
    """Return the address with another value of one parameter, on its first page. An empty value removes it."""
    changed = query.copy()
    for parameter in (name, *PAGE_PARAMETERS):
        changed.pop(parameter, None)
    if value:
        changed[name] = value
    return f"?{changed.urlencode()}"


def kept_parameters(query: QueryDict) -> list[tuple[str, str]]:
    """Return the parameters that a search keeps."""
    return [(name, str(value)) for name, value in query.items() if name not in (SEARCH_VAR, *PAGE_PARAMETERS)]


def is_filtered(query: QueryDict, *, but: str = "") -> bool:
    """Return True if the address has a filter or a search, other than `but`."""
    return any(value for name, value in query.items() if name not in (but, *PAGE_PARAMETERS))


def show_problems(request: HttpRequest, problems: dict[str, str]) -> None:
    """Add a message to the page. The message names the filters that cannot be read."""
    texts = " ".join(f"{name}: {text}" for name, text in problems.items())
    messages.error(
        request, f"The list shows no rows, because a filter cannot be read. {texts} Correct the filter or remove it."
    )


def unknown_parameters(request: HttpRequest, known: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each query parameter that is no filter, with its problem."""
    for name in request.GET:
        if name not in known | LIST_PARAMETERS:
            yield name[:100], unknown_name(name, known | {SEARCH_VAR}, kind="filter")


def _problems(shown: CheckedChangeList, request: HttpRequest, specs: list[Any]) -> Iterator[tuple[str, str]]:
    known = filter_names(shown.list_filter)
    yield from unknown_parameters(request, known)
    for errors in shown.search_form_class(request.GET).errors.values():
        yield SEARCH_VAR, " ".join(map(str, errors))
    read: set[str] = set()
    for spec in specs:
        form = next(iter(spec.choices(None)))["form"]  # no list is passed, so no counts are computed
        read |= {name for name in known if any(name == field or name.startswith(f"{field}_") for field in form.fields)}
        for field, errors in form.errors.items():
            yield field, " ".join(map(str, errors))
    for name in known - read:  # a filter that offers no choice is not shown, and Django then ignores its value
        if any(request.GET.getlist(name)):
            yield name, "There is nothing with this value."
