"""Runs chosen by the filters of `GET /runs`, where they come in a body or on a command line. Nothing is ignored: a filter that
is not known would choose more than was meant."""

import uuid
from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils.datastructures import MultiValueDict

from workflows.api.filters import RunFilter
from workflows.errors import InputInvalid
from workflows.models import Run


def runs_by_filters(*, tenant_id: uuid.UUID, filters: Mapping[str, Any]) -> QuerySet[Run]:
    """Errors: InputInvalid with `details.fields`."""
    if not filters:
        raise _invalid({"filters": ["name at least one filter"]})
    unknown = sorted(set(filters) - set(RunFilter.base_filters))
    if unknown:
        raise _invalid({name: ["there is no such filter"] for name in unknown})
    data = MultiValueDict({name: _texts(name, value) for name, value in filters.items()})
    chosen = RunFilter(data=data, queryset=Run.objects.filter(tenant_id=tenant_id))
    if not chosen.is_valid():
        raise _invalid({name: [str(word) for word in words] for name, words in chosen.errors.items()})
    runs: QuerySet[Run] = chosen.qs
    return runs


def _texts(name: str, value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | int) and not isinstance(one, bool) and one != "" for one in values):
        raise _invalid({name: ["must be a text or a number, or a list of them"]})
    return [str(one) for one in values]


def _invalid(fields: dict[str, list[str]]) -> InputInvalid:
    return InputInvalid("the filters are wrong", details={"fields": fields})
