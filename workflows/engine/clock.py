"""Times in the engine: whole milliseconds since 1970-01-01T00:00Z. The current time is always an argument.

This is the only module that converts between milliseconds and datetimes.
"""

from datetime import UTC, datetime

# 9999-12-31T23:59:59.999Z: the last moment that both ISO 8601 and PostgreSQL can write without an extension.
MAX_MS = 253_402_300_799_999
# 2001-01-01T00:00Z in milliseconds. A smaller number is read as seconds. This is safe for two reasons. In seconds,
# every year up to 9999 is below 253,402,300,800. And no workflow waits for a moment of the last century.
MIN_NUMBER_MS = 978_307_200_000


def datetime_of_ms(at_ms: int) -> datetime:
    """Return the moment in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


def ms_of_datetime(moment: datetime) -> int:
    """Return the moment in whole epoch milliseconds."""
    return int(moment.timestamp() * 1000)


def iso_time(at_ms: int) -> str:
    """Return the moment as `YYYY-MM-DDTHH:mm:ss.sssZ`."""
    moment = datetime_of_ms(at_ms // 1000 * 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def parse_moment(value: object) -> int | None:
    """Return epoch milliseconds for an ISO 8601 text with a zone, or for a number of epoch milliseconds; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if 0 <= value <= MAX_MS else None
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None  # without a zone, the moment would depend on the machine
    at_ms = ms_of_datetime(moment)
    return at_ms if 0 <= at_ms <= MAX_MS else None


def is_in_seconds(value: object) -> bool:
    """Return True if a value is a number that can only be seconds since 1970.

    Return False for 0, because 0 is the same moment in seconds and in milliseconds.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MIN_NUMBER_MS
