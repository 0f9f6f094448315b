"""Selection of runs by the filters of `GET /runs`, from a request body or a command line.

An unknown filter is refused. If it was ignored, more runs would be selected than the caller wants.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils.datastructures import MultiValueDict

from workflows.api.filters import RunFilter
from workflows.api.query import takes_many
from workflows.errors import InputInvalid, unknown_name
from workflows.models import Run


def runs_by_filters(*, tenant_id: uuid.UUID, filters: Mapping[str, Any], all_runs: bool = False) -> QuerySet[Run]:
    """Return the runs of a tenant that match all filters. If there is no filter, `all_runs` must be set.

    Errors: InputInvalid with `details.fields`. The caller must act.
    """
    if all_runs == bool(filters):
        problem = "Must be empty with `all_runs`." if all_runs else "At least one filter, or `all_runs`, is required."
        raise _invalid({"filters": [problem]})
    known = RunFilter.base_filters
    if unknown := sorted(set(filters) - set(known)):
        raise _invalid({name[:100]: [unknown_name(name, known, kind="filter")] for name in unknown})
    data = MultiValueDict({name: _texts(name, value) for name, value in filters.items()})
    chosen = RunFilter(data=data, queryset=Run.objects.filter(tenant_id=tenant_id), tenant_id=tenant_id)
    if not chosen.is_valid():
        raise _invalid({name: [str(word) for word in words] for name, words in chosen.errors.items()})
    runs: QuerySet[Run] = chosen.qs
    return runs


def _texts(name: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in values):
        raise _invalid({name: ["Must be a text, a number, or a list of texts and numbers."]})
    if len(values) > 1 and not takes_many(RunFilter, name):
        raise _invalid({name: ["Must be one value, because values of this filter cannot be combined."]})
    return [str(one) for one in values]


def _invalid(fields: dict[str, list[str]]) -> InputInvalid:
    return InputInvalid("The filters are invalid. See details.fields.", details={"fields": fields})
