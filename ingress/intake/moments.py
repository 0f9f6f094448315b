"""Times of events, as RFC 3339 defines them."""

import re
from datetime import UTC, datetime, timedelta

from django.utils.dateparse import parse_datetime

_LEAP_SECOND = re.compile(r"(.*T\d\d:\d\d:)60(.*)", re.S)
ONE_SECOND = timedelta(seconds=1)


def moment_of_text(text: str) -> datetime | None:
    """Return the moment in UTC, or None if the text is not a time with a zone.

    RFC 3339 allows lower-case `t` and `z`. It also allows a leap second, which becomes the first moment of the next
    day. Week dates are allowed in ISO 8601, but not in RFC 3339.
    """
    given = text.upper()
    leap = _LEAP_SECOND.fullmatch(given)
    if "W" in given:
        return None
    try:
        moment = parse_datetime(f"{leap[1]}59{leap[2]}" if leap else given)
        if moment is None or moment.tzinfo is None:
            return None
        # After the conversion to UTC, a time near year 1 or 9999 can be outside Python's calendar. PostgreSQL would
        # store such a time, but Python could not read it.
        moment = moment.astimezone(UTC) + (ONE_SECOND if leap else timedelta())
    except (ValueError, OverflowError):
        return None
    # Leap seconds are inserted only at the end of a month in UTC.
    is_possible = leap is None or (moment.day, moment.hour, moment.minute, moment.second) == (1, 0, 0, 0)
    return moment if is_possible else None
