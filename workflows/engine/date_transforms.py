"""The actions `transform.date_*`: arithmetic with dates in UTC and in fixed offsets.

A time zone with rules (`Europe/Berlin`) is not accepted here. Its rules come from data that is updated, and a replay
would give another result. The actions `calendar.*` calculate with such zones in an activity.

Source: docs/reference/language.md#date-arithmetic.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timezone
from typing import Any

from workflows.engine import dates
from workflows.engine.errors import Category, RunError
from workflows.engine.transform_input import invalid, take

UNITS = (*dates.MONTHS, *dates.UNIT_MS)
OUTPUTS = ("iso", "ms")
# Input fields of each action, and the choices of the fields that are checked at publishing if they are literals.
DATE_FIELDS: dict[str, tuple[str, ...]] = {
    "date_add": ("value", *UNITS, "offset", "as"),
    "date_difference": ("from", "to", "unit", "offset"),
    "date_parse": ("text", "format", "offset", "as"),
}
_CHOICES: Mapping[str, tuple[str, ...]] = {"unit": UNITS, "as": OUTPUTS}


def date_add(value: dict[str, Any], _contract: int) -> Any:
    """Add years, months, weeks, days, hours, minutes, seconds and milliseconds to a moment."""
    start = _moment(value, "value")
    amounts = {unit: _amount(value, unit) for unit in UNITS if value.get(unit) is not None}
    if not amounts:
        raise invalid(f"The action input has no amount. Add at least one of the fields {', '.join(UNITS)}.")
    return _output(value, _named("the result", lambda: dates.moved(start, amounts)))


def date_difference(value: dict[str, Any], _contract: int) -> Any:
    """Return the number of whole units from one moment to another."""
    unit = _choice(value, "unit", None)
    start, end = _moment(value, "from"), _moment(value, "to")
    return _named("`to`", lambda: dates.difference(start, end, unit))


def date_parse(value: dict[str, Any], _contract: int) -> Any:
    """Read an RFC 3339 text, or a text in the format of the input."""
    text = take(value, "text", str)
    layout = value.get("format")
    if layout is None:
        return _output(value, _named("`text`", lambda: dates.moment_of_text(text)))
    if not isinstance(layout, str):
        raise invalid("The field `format` of the action input must be a text.")
    _named("`format`", lambda: dates.check_format(layout))
    offset = _offset(value) or UTC
    return _output(value, _named("`text`", lambda: dates.moment_of_format(text, layout, offset)))


def literal_problems(action_id: str, mapping: Any) -> Iterator[tuple[str, str]]:
    """Yield the field and the problem of each literal in an input mapping that no run could use."""
    if action_id.removeprefix("transform.") not in DATE_FIELDS or not isinstance(mapping, dict):
        return
    for name in ("unit", "as", "offset", "format"):
        literal = mapping.get(name)
        if literal is None or isinstance(literal, dict):
            continue
        try:
            _check_literal(name, literal)
        except RunError as problem:
            yield name, problem.message


def _check_literal(name: str, literal: Any) -> None:
    if name in _CHOICES:
        _choice({name: literal}, name, None)
    elif name == "offset":
        _offset({name: literal})
    elif not isinstance(literal, str):
        raise invalid(f"The field `{name}` of the action input must be a text.")
    else:
        _named(f"`{name}`", lambda: dates.check_format(literal))


def _moment(value: dict[str, Any], name: str) -> datetime:
    """Return the moment in a field: RFC 3339 text, or epoch milliseconds. `offset` sets the offset of its calendar."""
    found = value.get(name)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        raise _time_invalid(f"The value of `{name}` is not a time: RFC 3339 text with a zone, or epoch milliseconds.")
    offset = _offset(value)
    if isinstance(found, str):
        moment = _named(f"`{name}`", lambda: dates.moment_of_text(found))
    else:
        moment = _named(f"`{name}`", lambda: dates.moment_of_ms(found))
    return moment if offset is None else _named(f"`{name}`", lambda: _in_offset(moment, offset))


def _in_offset(moment: datetime, offset: timezone) -> datetime:
    try:
        return moment.astimezone(offset)
    except OverflowError:
        raise ValueError(dates.OUTSIDE) from None


def _output(value: dict[str, Any], moment: datetime) -> str | int:
    form, offset = _choice(value, "as", "iso"), _offset(value)
    if form == "ms":
        return dates.ms_of_moment(moment)
    return dates.text_of_moment(moment if offset is None else _named("the result", lambda: _in_offset(moment, offset)))


def _offset(value: dict[str, Any]) -> timezone | None:
    found = value.get("offset")
    if found is None:
        return None
    if not isinstance(found, str):
        raise invalid("The field `offset` of the action input must be a text such as `Z` or `+02:00`.")
    return _named("`offset`", lambda: dates.offset_of_text(found))


def _amount(value: dict[str, Any], unit: str) -> int:
    found = value[unit]
    if isinstance(found, float) and found.is_integer():
        return int(found)  # the result of arithmetic in an expression
    return int(take(value, unit, int))


def _choice(value: dict[str, Any], name: str, default: str | None) -> str:
    found = default if value.get(name) is None else value[name]
    if found not in _CHOICES[name]:
        raise invalid(f"The field `{name}` of the action input must be one of {', '.join(_CHOICES[name])}.")
    return str(found)


def _named(what: str, read: Callable[[], Any]) -> Any:
    """Call a function of `dates`. Turn its ValueError into an error that names the field."""
    try:
        return read()
    except ValueError as problem:
        raise _time_invalid(f"The value of {what} {problem}.") from None


def _time_invalid(message: str) -> RunError:
    return RunError(Category.VALIDATION, message, code="TIME_INVALID")
