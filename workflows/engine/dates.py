"""Calendar arithmetic in UTC and in fixed offsets: moments, their text, and steps by months or days.

A moment is a datetime with a fixed offset and whole milliseconds. Years go from 1 to 9999. Nothing here depends on time
zone data, so a replay gives the same result after an update of this data.

Errors: ValueError; its text is the rest of a sentence about the value. The author must act.
"""

import re
from calendar import monthrange
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RFC_3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)", re.ASCII)
# Tokens of a format, and what each of them matches.
_TOKENS = {
    "YYYY": r"(?P<year>\d{4})",
    "MM": r"(?P<month>\d\d)",
    "DD": r"(?P<day>\d\d)",
    "HH": r"(?P<hour>\d\d)",
    "mm": r"(?P<minute>\d\d)",
    "ss": r"(?P<second>\d\d)",
    "SSS": r"(?P<millisecond>\d{3})",
    "Z": r"(?P<offset>[Zz]|[+-]\d\d:?\d\d)",
}
_FORMAT = re.compile(r"YYYY|MM|DD|HH|mm|ss(?!s)|SSS|Z|'[^']*'|[^A-Za-z']|T(?=HH)")
MAX_FORMAT_LENGTH = 100
# Length of each unit that has a fixed length, in milliseconds. With a fixed offset, this includes days and weeks.
UNIT_MS = {
    "milliseconds": 1,
    "seconds": 1_000,
    "minutes": 60_000,
    "hours": 3_600_000,
    "days": 86_400_000,
    "weeks": 604_800_000,
}
MONTHS = {"months": 1, "years": 12}
OUTSIDE = "is outside the years 1 to 9999"


def moment_of_ms(at_ms: int | float, offset: timezone = UTC) -> datetime:
    """Return the moment of epoch milliseconds. A fraction of a millisecond is left out."""
    try:
        return (_EPOCH + timedelta(milliseconds=int(at_ms))).astimezone(offset)
    except OverflowError:
        raise ValueError(OUTSIDE) from None


def ms_of_moment(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def moment_of_text(text: str) -> datetime:
    """Return the moment of an RFC 3339 text, with the offset of the text.

    RFC 3339 allows lower-case `t` and `z`. It also allows a leap second at the end of a month (UTC), which becomes the
    first second of the next month.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("is not an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    leap = second == 60
    milliseconds = int((match[7] or "")[:3].ljust(3, "0"))
    moment = _checked((year, month, day, hour, minute, 59 if leap else second, milliseconds), offset_of_text(match[8]))
    if leap:
        moment = moved(moment, {"seconds": 1})
        utc = moment.astimezone(UTC)
        if (utc.day, utc.hour, utc.minute, utc.second) != (1, 0, 0, 0):
            raise ValueError("has a leap second that is not at the end of a month (UTC)")
    return moment


def moment_of_format(text: str, layout: str, offset: timezone) -> datetime:
    """Return the moment of a text in a given format. `offset` applies if the format has no token `Z`.

    Tokens: YYYY MM DD HH mm ss SSS Z. A part in single quotes, and every character that is no letter, matches itself. A
    month or day that the format does not have is 1. A missing part of the time is 0.
    """
    match = re.fullmatch(_pattern(layout), text, re.ASCII)
    if match is None:
        raise ValueError(f"does not have the format {layout!r}")
    found = match.groupdict()
    names = ("year", "month", "day", "hour", "minute", "second", "millisecond")
    year, month, day, *clock = (int(found.get(name) or (1 if name in ("month", "day") else 0)) for name in names)
    return _checked((year, month, day, *clock), offset_of_text(found["offset"]) if found.get("offset") else offset)


def check_format(layout: str) -> None:
    _pattern(layout)


def _pattern(layout: str) -> str:
    if len(layout) > MAX_FORMAT_LENGTH:
        raise ValueError(f"has more than {MAX_FORMAT_LENGTH} characters")
    parts, position = [], 0
    for match in _FORMAT.finditer(layout):
        if match.start() != position:
            break
        token, position = match[0], match.end()
        literal = token[1:-1] if token.startswith("'") else token
        parts.append(_TOKENS.get(token) or re.escape(literal))
    if position != len(layout):
        raise ValueError(
            f"has the unknown token {layout[position:][:10]!r}; the tokens are {' '.join(_TOKENS)}, and other letters "
            "are written in single quotes"
        )
    named = [part for part in parts if part.startswith("(?P<")]
    if _TOKENS["YYYY"] not in named or len(set(named)) != len(named):
        raise ValueError("must have YYYY, and no token twice")
    return "".join(parts)


def offset_of_text(text: str) -> timezone:
    """Return the offset that `Z`, `+02:00` or `+0200` names."""
    if text in ("Z", "z"):
        return UTC
    match = _OFFSET.fullmatch(text)
    if match is None or int(match[2]) > 23 or int(match[3]) > 59:
        raise ValueError(f"has the offset {text[:20]!r}, which is not Z or a fixed offset such as +02:00")
    minutes = int(match[2]) * 60 + int(match[3])
    return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))


def text_of_moment(moment: datetime) -> str:
    """Return `YYYY-MM-DDTHH:mm:ss.sss`, followed by `Z` or the offset."""
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + ("" if moment.utcoffset() else "Z")


def moved(moment: datetime, amounts: Mapping[str, int]) -> datetime:
    """Return the moment moved by amounts of units.

    Years and months are added first. If the day does not exist in the new month, it becomes the last day of the month.
    """
    months = sum(amounts.get(unit, 0) * length for unit, length in MONTHS.items())
    milliseconds = sum(amounts.get(unit, 0) * length for unit, length in UNIT_MS.items())
    try:
        return _months_later(moment, months) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise ValueError(OUTSIDE) from None


def difference(start: datetime, end: datetime, unit: str) -> int:
    """Return the number of whole units from `start` to `end`. It is negative if `end` is earlier.

    Months and years are counted in the calendar of the offset of `start`.
    """
    if unit in UNIT_MS:
        milliseconds = (end - start) // _MILLISECOND
        whole = abs(milliseconds) // UNIT_MS[unit]
        return whole if milliseconds >= 0 else -whole
    try:
        local = end.astimezone(start.tzinfo)
    except OverflowError:
        raise ValueError(OUTSIDE) from None
    months = (local.year - start.year) * 12 + local.month - start.month
    if months > 0 and _months_later(start, months) > end:
        months -= 1
    elif months < 0 and _months_later(start, months) < end:
        months += 1
    whole = abs(months) // MONTHS[unit]
    return whole if months >= 0 else -whole


def _months_later(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return moment.replace(year=year, month=month + 1, day=min(moment.day, monthrange(year, month + 1)[1]))


def _checked(parts: tuple[int, ...], offset: timezone) -> datetime:
    *day_and_time, milliseconds = parts
    try:
        moment = datetime(*day_and_time, milliseconds * 1000, tzinfo=offset)  # type: ignore[arg-type,misc]
        _ = moment.astimezone(UTC)  # a moment near year 1 or 9999 can be outside the calendar in UTC
    except (ValueError, OverflowError):
        raise ValueError("is not a moment of the calendar") from None
    return moment
