"""Pages of long lists. A page begins behind a row, and its address names the values of that row's order.

So each page reads about its own rows, however deep it is in the list, and new rows move no row to another page.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db.models import DateTimeField, F, Field, Q, QuerySet, UUIDField
from django.db.models.expressions import OrderBy

PAGE_SIZE = 50
# Parameter with the position in the address of a page with one list.
POSITION_VAR = "at"
# Longest text of a position. A folded key fits in, whatever its characters are.
LONGEST = 8_000


class Position(NamedTuple):
    """Values of the order of a row. The page ends before this row if `is_before`, and else begins after it."""

    values: tuple[Any, ...]
    is_before: bool = False


@dataclass(frozen=True)
class KeysetPage:
    """Rows of one page. `previous` and `following` are the positions of the pages beside it, or empty texts."""

    rows: Sequence[Any]
    following: str = ""
    previous: str = ""
    is_first: bool = True


@dataclass(frozen=True)
class Term:
    """One term of an order. Like PostgreSQL, it sorts rows without a value as if they had the greatest one."""

    alias: str
    is_descending: bool
    expression: Any
    is_nullable: bool

    @property
    def sql(self) -> str:
        return f"-{self.alias}" if self.is_descending else self.alias

    def equals(self, value: Any) -> Q:
        return Q(**{f"{self.alias}__isnull": True}) if value is None else Q(**{self.alias: value})

    def behind(self, value: Any) -> list[Q]:
        """Return the ranges of an index with the rows behind a value, in their order."""
        if value is None:
            return [Q(**{f"{self.alias}__isnull": False})] if self.is_descending else []
        if self.is_descending:
            return [Q(**{f"{self.alias}__lt": value})]
        greater = Q(**{f"{self.alias}__gt": value})
        return [greater, Q(**{f"{self.alias}__isnull": True})] if self.is_nullable else [greater]

    def from_value(self, value: Any) -> Q:
        return Q(**{f"{self.alias}__{'lte' if self.is_descending else 'gte'}": value})


def keyset_page(rows: QuerySet[Any], *, at: str = "", size: int = PAGE_SIZE) -> KeysetPage:
    """Return one page of ordered rows. The id of the rows is the last term of their order.

    `at` is the position of an earlier page. A position that cannot be read, or that has no rows any more, leads to the
    first page. The order may have no NULLS FIRST or LAST that PostgreSQL does not have by default.
    Cost: one statement, and one more for each further term of the order whose value changes on the page. The index must
    begin with the filter of `rows`, followed by the terms of the order.
    """
    order = _order_of(rows)
    rows = rows.annotate(**{term.alias: term.expression for term in order})
    position = read_position(at, [rows.query.annotations[term.alias].output_field for term in order])
    if position is None:
        found = list(rows.order_by(*(term.sql for term in order))[: size + 1])
        return KeysetPage(found[:size], _position(found[size - 1], order) if len(found) > size else "")
    if position.is_before:
        order_back = [replace(term, is_descending=not term.is_descending) for term in order]
        found = _rows_behind(rows, order_back, position, size + 1)
        if len(found) < size:  # rows have left the list
            return keyset_page(rows, size=size)
        shown, is_first = found[:size][::-1], len(found) == size
        previous = "" if is_first else _position(shown[0], order, is_before=True)
        return KeysetPage(shown, _position(shown[-1], order), previous, is_first)
    found = _rows_behind(rows, order, position, size + 1)
    if not found:
        return keyset_page(rows, size=size)
    following = _position(found[size - 1], order) if len(found) > size else ""
    return KeysetPage(found[:size], following, _position(found[0], order, is_before=True), is_first=False)


def behind_time(position: Position, *, by: str) -> Q:
    """Return the rows behind a position of `read_time_position` in the ascending order of a time and the id."""
    time, row_id = position.values
    comparison = "lt" if position.is_before else "gt"
    # The first condition alone is a range of the index. The second one leaves out rows at exactly this time.
    later = Q(**{f"{by}__{comparison}": time}) | Q(**{f"id__{comparison}": row_id})
    return Q(**{f"{by}__{comparison}e": time}) & later


def position_text(values: Sequence[Any], *, is_before: bool = False) -> str:
    """Return the text of a position for the address of a page."""
    plain = [value.isoformat() if isinstance(value, date) else value for value in values]
    text = json.dumps([is_before, *plain], default=str, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_time_position(text: str) -> Position | None:
    position = read_position(text, [DateTimeField(), UUIDField()])
    return None if position is None or position.values[0] is None else position


def read_position(text: str, fields: "Sequence[Field[Any, Any]]") -> Position | None:
    """Return the position with values of these fields, or None if the text is no such position."""
    if not text or len(text) > LONGEST:
        return None
    try:
        given = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        is_before, *plain = given
        values = tuple(_value(field, value) for field, value in zip(fields, plain, strict=True))
        if values[-1] is None:
            return None
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error, ValidationError):
        return None
    return Position(values, is_before is True)


def _value(field: "Field[Any, Any]", plain: Any) -> Any:
    """Return the value of a field. Errors: ValueError for a value that PostgreSQL cannot compare with the column."""
    if plain is None:
        return None
    if not isinstance(plain, str | int | float):
        raise ValueError("a value is a text or a number")
    if "\x00" in str(plain):
        raise ValueError("PostgreSQL stores no NUL character")
    str(plain).encode()
    value = field.to_python(str(plain))
    if isinstance(field, DateTimeField) and value.tzinfo is None:
        raise ValueError("a time has a zone")
    return value


def _order_of(rows: QuerySet[Any]) -> list[Term]:
    """Return the terms of the order of the rows. The id, in the direction of the last term, is added if it is absent.

    Errors: ValueError for an order that is not that of PostgreSQL.
    """
    given = [one if isinstance(one, OrderBy) else _ordered(one) for one in rows.query.order_by]
    if given[-1].expression not in (F("id"), F("pk")):
        given.append(OrderBy(F("id"), descending=given[-1].descending))
    if any(one.nulls_last if one.descending else one.nulls_first for one in given):
        raise ValueError("a page begins behind a value only in the order of PostgreSQL")
    filled = {F(field.name) for field in rows.model._meta.concrete_fields if not field.null} | {F("pk")}
    return [
        Term(f"keyset_{number}", one.descending, one.expression, one.expression not in filled)
        for number, one in enumerate(given)
    ]


def _ordered(term: Any) -> OrderBy:
    if isinstance(term, str):
        return OrderBy(F(term.removeprefix("-")), descending=term.startswith("-"))
    return OrderBy(term)


def _rows_behind(rows: QuerySet[Any], order: list[Term], position: Position, most: int) -> list[Any]:
    """Return the first rows behind a position. Each range of the index is read only if the page is not full yet."""
    found: list[Any] = []
    for condition in _ranges(list(zip(order, position.values, strict=True))):
        found += rows.filter(condition).order_by(*(term.sql for term in order))[: most - len(found)]
        if len(found) == most:
            break
    return found


def _ranges(places: list[tuple[Term, Any]]) -> Iterator[Q]:
    """Yield the ranges of the index behind a position, the nearest first.

    The first range has the rows with the same values except the last two, the time and the id for example. An OR of all
    ranges would use only the first column of the index.
    """
    row_id, value_of_id = places[-1]
    if len(places) == 1:
        yield from row_id.behind(value_of_id)
    for place in reversed(range(len(places) - 1)):
        same = Q()
        for term, value in places[:place]:
            same &= term.equals(value)
        term, value = places[place]
        behind = term.behind(value)
        if place == len(places) - 2:
            (with_same,) = row_id.behind(value_of_id)
            if value is None:
                behind = [term.equals(None) & with_same, *behind]
            else:
                # The first condition alone is a range of the index.
                behind = [term.from_value(value) & (behind[0] | with_same), *behind[1:]]
        yield from (same & condition for condition in behind)


def _position(row: Any, order: list[Term], *, is_before: bool = False) -> str:
    return position_text([getattr(row, term.alias) for term in order], is_before=is_before)
