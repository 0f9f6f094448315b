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
    sign, comparison = ("-", "lt") if newest_first else ("", "gt")
    position = _position(at)
    if position is not None:
        time, row_id = position
        rows = rows.filter(Q(**{f"{by}__{comparison}": time}) | Q(**{by: time, f"id__{comparison}": row_id}))
    found = list(rows.order_by(f"{sign}{by}", f"{sign}id")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    following = f"{getattr(shown[-1], by).isoformat()}_{shown[-1].id}" if len(found) > PAGE_SIZE else ""
    return KeysetPage(shown, following, position is None)


def _position(text: str) -> tuple[datetime, uuid.UUID] | None:
    time, _, row_id = text.partition("_")
    try:
        at, found = datetime.fromisoformat(time), uuid.UUID(row_id)
    except ValueError:
        return None
    return (at, found) if at.tzinfo is not None else None
