"""The first results of a search whose conditions have an order, for example: the whole key, its beginning, its end."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from django.db.models import Q, QuerySet, Value


def best_first(
    rows: QuerySet[Any], conditions: Sequence[Q], *columns: str, newest: str, number: int
) -> list[dict[str, Any]]:
    """Return the columns of at most `number` rows. Rows of an earlier condition come first, then newer rows.

    `newest`: the column with the time.
    Cost: one statement. Each condition needs an index, and reads at most `number` rows in the order of time.
    """
    parts = [
        rows.filter(condition).order_by(f"-{newest}").values("id", newest, *columns, best=Value(place))[:number]
        for place, condition in enumerate(conditions)
    ]
    found: dict[Any, dict[str, Any]] = {}
    newest_first = sorted(parts[0].union(*parts[1:], all=True), key=itemgetter(newest), reverse=True)
    for row in sorted(newest_first, key=itemgetter("best")):
        found.setdefault(row["id"], row)
    return list(found.values())[:number]
