"""Times and durations as the screens show them, in the time zone of the request (docs/reference/screens.md#times)."""

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

MINUTE, HOUR, DAY = 60, 3_600, 86_400
NO_TIME = "–"


def local_time(value: datetime) -> datetime:
    """Return a time in the current zone, or in UTC if it is outside of Python's calendar there.

    Senders of events and authors use 9999-12-31T23:59:59Z for "never". East of UTC, this time is in the year 10000.
    """
    try:
        return timezone.localtime(value)
    except OverflowError:
        return value.astimezone(UTC)


def zone_name(at: datetime | None = None) -> str:
    """Return the short name of the current time zone, for example `CET`. A zone without a name gives `UTC-03:00`."""
    local = local_time(at or timezone.now())
    name = local.tzname() or ""
    return name if name.isalpha() else f"UTC{_offset(local)}"


def clock_text(value: datetime, *, with_seconds: bool = False) -> str:
    """Return the local time without the zone: `13:47`, with a week day or a date if it is not today."""
    local, today = local_time(value), timezone.localdate()
    text = local.strftime("%H:%M:%S" if with_seconds else "%H:%M")
    days = abs((local.date() - today).days)
    if days == 0:
        return text
    if days < 7:
        return f"{local:%a} {text}"
    return f"{local.day} {local:%b} {text}" if local.year == today.year else f"{local.day} {local:%b %Y} {text}"


def full_text(value: datetime) -> str:
    """Return the time to the millisecond, in the current zone and in UTC."""
    local, utc = local_time(value), value.astimezone(timezone.get_fixed_timezone(0))
    in_utc = f"{utc:%Y-%m-%d %H:%M:%S}.{utc.microsecond // 1000:03} UTC"
    if not local.utcoffset():
        return in_utc
    return f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03} {zone_name(value)} = {in_utc}"


def time_element(value: datetime, text: str, *, age: int | None = None) -> SafeString:
    """Render a time. Hover and focus show the full time.

    `age`: seconds since the time of a relative text, negative before it. The script ages.js of live pages adds to it.
    """
    return format_html(
        '<time datetime="{}" title="{}" tabindex="0"{}>{}</time>',
        value.astimezone(timezone.get_fixed_timezone(0)).isoformat(),
        full_text(value),
        "" if age is None else format_html(' data-ago="{}"', age),
        text,
    )


def moment(value: datetime | str | None, precise: Any = False) -> SafeString | str:
    """Render a time with its zone: `13:47 CET`, or `13:47:20 CET` if `precise` is true.

    Django passes an empty text for a variable that leads nowhere, for example the time of a version that does not
    exist.
    """
    if value is None or isinstance(value, str):
        return NO_TIME
    return time_element(value, f"{clock_text(value, with_seconds=bool(precise))} {zone_name(value)}")


def clock(value: datetime | None, precise: Any = False) -> SafeString | str:
    """Render a time without its zone. Use it where a title names the zone, as in "times in CET"."""
    return NO_TIME if value is None else time_element(value, clock_text(value, with_seconds=bool(precise)))


def ago(value: datetime | None) -> SafeString | str:
    """Render a past time relative to now: `12 s ago`."""
    if value is None:
        return NO_TIME
    age = max(0, int((timezone.now() - value).total_seconds()))
    return time_element(value, f"{duration(age)} ago", age=age)


def until(value: datetime | None) -> SafeString | str:
    """Render a future time relative to now: `in 24 min`. A time that has passed gives `17 min ago`."""
    if value is None:
        return "no deadline"
    left = int((value - timezone.now()).total_seconds())
    return time_element(value, f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago", age=-left)


def duration_between(start: datetime | None, end: datetime | None) -> SafeString | str:
    """Render the time from start to end. If there is no end, render the time until now, which ages.js advances."""
    if start is None:
        return NO_TIME
    if end is not None:
        return duration((end - start).total_seconds())
    seconds = max(0, int((timezone.now() - start).total_seconds()))
    return format_html('<time datetime="PT{0}S" data-lasts="{0}">{1}</time>', seconds, duration(seconds))


def duration(seconds: float) -> str:
    """Format a duration, rounded down: `3 ms`, `8.2 s`, `82 s`, `4 min`, `3 h 5 min`, `2 d 4 h`. Units: seconds."""
    if isinstance(seconds, float) and seconds < 10:
        milliseconds = int(seconds * 1000)
        return f"{milliseconds} ms" if milliseconds < 100 else f"{milliseconds // 100 / 10} s"
    whole = int(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < 2 * DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "d", HOUR, "h")


def _two(seconds: int, large: int, large_name: str, small: int, small_name: str) -> str:
    count, rest = divmod(seconds, large)
    return f"{count} {large_name} {rest // small} {small_name}" if rest >= small else f"{count} {large_name}"


def _offset(local: datetime) -> str:
    text = local.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"
