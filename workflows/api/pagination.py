"""Pagination of the API lists."""

from typing import Any

from django.core.exceptions import ValidationError as FieldError
from django.db.models import QuerySet
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request


class RowOrderPagination(CursorPagination):
    """Pagination by cursor in the `row_order` of the view. If new rows are added, no row is repeated or missing."""

    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    model: Any = None

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        self.model = queryset.model
        return tuple(view.row_order)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """Read the cursor. Its position must be a value of the column that orders the list.

        Errors: ValidationError. The client must use the URLs `next` and `previous` without changes.
        """
        try:
            cursor = super().decode_cursor(request)
            if cursor is None or cursor.position is None:
                return cursor
            position = str(cursor.position)
            if "\x00" in position:
                raise ValueError("the position has a NUL character")
            self.model._meta.get_field(self.ordering[0].lstrip("-")).to_python(position)
        except (NotFound, FieldError, ValueError, OverflowError) as error:
            problem = "This is not a cursor of this list. Follow `next` and `previous` unchanged, or begin again."
            raise ValidationError({"cursor": [problem]}) from error
        return cursor
