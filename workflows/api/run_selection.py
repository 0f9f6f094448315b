"""Selection of runs by the filters of `GET /runs`, from a request body or a command line.

An unknown filter is refused. To ignore it would select more runs than the caller wants.
"""

import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils.datastructures import MultiValueDict

from workflows.api.filters import RunFilter
from workflows.errors import InputInvalid
from workflows.models import Run


def runs_by_filters(*, tenant_id: uuid.UUID, filters: Mapping[str, Any]) -> QuerySet[Run]:
    """Return the runs of a tenant that match all filters.

    Errors: InputInvalid with `details.fields`. The caller must act.
    """
    if not filters:
        raise _invalid({"filters": ["At least one filter is required."]})
    unknown = sorted(set(filters) - set(RunFilter.base_filters))
    if unknown:
        raise _invalid({name: ["This filter does not exist."] for name in unknown})
    data = MultiValueDict({name: _texts(name, value) for name, value in filters.items()})
    chosen = RunFilter(data=data, queryset=Run.objects.filter(tenant_id=tenant_id))
    if not chosen.is_valid():
        raise _invalid({name: [str(word) for word in words] for name, words in chosen.errors.items()})
    runs: QuerySet[Run] = chosen.qs
    return runs


def _texts(name: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in values):
        raise _invalid({name: ["Must be a text, a number, or a list of texts and numbers."]})
    return [str(one) for one in values]


def _invalid(fields: dict[str, list[str]]) -> InputInvalid:
    return InputInvalid("The filters are invalid. See details.fields.", details={"fields": fields})
