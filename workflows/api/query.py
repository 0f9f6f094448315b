"""Query parameters of the API. If a parameter does not exist or cannot be read, the request is refused.

Otherwise the response would have more rows than the client wants (docs/reference/api.md#scope).
"""

from datetime import UTC
from typing import Any

from django import forms
from django_filters import Filter, MultipleChoiceFilter
from django_filters.fields import IsoDateTimeField
from rest_framework.exceptions import ValidationError
from rest_framework.generics import ListAPIView
from rest_framework.renderers import BrowsableAPIRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from workflows.errors import unknown_name

PAGE_PARAMETERS = frozenset({"cursor", "page_size"})
RENDERER_PARAMETER = "format"
MAX_INTEGER = 2**31 - 1


class WholeNumberFilter(Filter):
    """Filter of an integer column. A `NumberFilter` would cut 1.5 to 1."""

    field_class = forms.IntegerField

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"min_value": 0, "max_value": MAX_INTEGER, **options})


class MomentField(IsoDateTimeField):
    """Field for an ISO 8601 time.

    A time is refused if it is not between the years 1 and 9999 after conversion to UTC.
    """

    def to_python(self, value: Any) -> Any:
        moment = super().to_python(value)
        try:
            return None if moment is None else moment.astimezone(UTC)
        except OverflowError as error:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from error


class MomentFilter(Filter):
    field_class = MomentField


class CheckedView(APIView):
    # Base of all views of the API. This is a comment, because OpenAPI would take a docstring as the description of
    # each view.
    query_parameters: tuple[str, ...] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        check_query(self, request)

    def check_permissions(self, request: Request) -> None:
        # The rate limit also counts requests that are refused for their scope. The library would check it afterwards.
        super().check_throttles(request)
        super().check_permissions(request)

    def check_throttles(self, request: Request) -> None:
        pass


def check_query(view: Any, request: Request) -> None:
    """Refuse a query parameter that is unknown or empty, or that is repeated although the view needs only one value.

    The HTML form of the browsable API sends all its fields. So an empty parameter is allowed in a request of this form.

    Errors: ValidationError with the parameter's name. The API client must act.
    """
    filters = getattr(view, "filterset_class", None) if request.method in ("GET", "HEAD") else None
    known = {RENDERER_PARAMETER, *view.query_parameters, *(filters.base_filters if filters else ())}
    if isinstance(view, ListAPIView) and request.method in ("GET", "HEAD"):
        known |= PAGE_PARAMETERS
    allows_empty = isinstance(getattr(request, "accepted_renderer", None), BrowsableAPIRenderer)
    problems: dict[str, list[str]] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            problems[name[:100]] = [unknown_name(name, known, kind="parameter")]
        elif "" in values and not allows_empty:
            problems[name] = ["The value is empty. Give a value, or leave the parameter out."]
        elif len(values) > 1 and not takes_many(filters, name):
            problems[name] = ["The parameter occurs more than once, and only one value is possible."]
    problems.update(_page_size_problem(request) if "page_size" in known and "page_size" not in problems else {})
    if problems:
        raise ValidationError(problems)


def takes_many(filters: Any, name: str) -> bool:
    """Return True if a request may have several values for this filter.

    A row then needs to match only one of the values.
    """
    return filters is not None and isinstance(filters.base_filters.get(name), MultipleChoiceFilter)


def _page_size_problem(request: Request) -> dict[str, list[str]]:
    text = request.query_params.get("page_size", "1")
    is_number = text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) > 0
    return {} if is_number or text == "" else {"page_size": ["Must be a whole number above 0."]}
