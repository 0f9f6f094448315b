"""Pagination of the API lists."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class RowOrderPagination(CursorPagination):
    """Pagination by cursor in the `row_order` of the view. New rows cause no repeated and no missing rows."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return tuple(view.row_order)
