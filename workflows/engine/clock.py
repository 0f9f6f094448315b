"""Times as the engine carries them: whole milliseconds since 1970 (UTC). The current time is always an argument."""

from datetime import UTC, datetime

MAX_MS = (
    253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last moment that ISO 8601 and PostgreSQL both write plainly
)


def iso_time(at_ms: int) -> str:
    """`YYYY-MM-DDTHH:mm:ss.sssZ`."""
    moment = datetime.fromtimestamp(at_ms // 1000, tz=UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def parse_moment(value: object) -> int | None:
    """Epoch milliseconds of an ISO 8601 text with a zone, or of a number that is epoch milliseconds already; else None."""
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
        return None  # a time without a zone means another moment on every machine
    at_ms = int(moment.timestamp() * 1000)
    return at_ms if 0 <= at_ms <= MAX_MS else None
