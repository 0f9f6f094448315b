"""Pages of long lists by the time and the id of their rows. The position of a page is a text in its address."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

PAGE_SIZE = 50


@dataclass(frozen=True)
class KeysetPage:
    """Rows of one page. `following` is the position of the next page, or an empty text on the last page."""

    rows: Sequence[Any]
    following: str = ""
    is_first: bool = True


def keyset_page(rows: QuerySet[Any], *, by: str, at: str = "", newest_first: bool = True) -> KeysetPage:
    """Return one page of rows in the order of the time in the field `by`.

    `at` is the position of an earlier page. A position that cannot be read leads to the first page.
    Cost: one statement. The index must begin with the filter of `rows`, followed by `by`.
    """
    sign = "-" if newest_first else ""
    rows = rows_after(rows, by=by, at=at, newest_first=newest_first)
    found = list(rows.order_by(f"{sign}{by}", f"{sign}id")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    following = f"{getattr(shown[-1], by).isoformat()}_{shown[-1].id}" if len(found) > PAGE_SIZE else ""
    return KeysetPage(shown, following, position_of(at) is None)


def rows_after(rows: QuerySet[Any], *, by: str, at: str, newest_first: bool = True) -> QuerySet[Any]:
    """Return the rows behind a position, without an order. A position that cannot be read returns all rows."""
    position, comparison = position_of(at), "lt" if newest_first else "gt"
    if position is None:
        return rows
    time, row_id = position
    # The first condition alone is a range of the index. The second one leaves out rows at exactly this time.
    return rows.filter(
        Q(**{f"{by}__{comparison}e": time}), Q(**{f"{by}__{comparison}": time}) | Q(**{f"id__{comparison}": row_id})
    )


def position_of(text: str) -> tuple[datetime, uuid.UUID] | None:
    """Return the time and the id of a position, or None if it cannot be read."""
    time, _, row_id = text.partition("_")
    try:
        at, found = datetime.fromisoformat(time), uuid.UUID(row_id)
    except ValueError:
        return None
    return (at, found) if at.tzinfo is not None else None
