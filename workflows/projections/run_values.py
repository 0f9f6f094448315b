"""Business data of a run, taken from its payload when its row is inserted (docs/reference/screens.md#business-data)."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime

from workflows.engine.filters import MISSING, value_at
from workflows.models import Run, RunValue
from workflows.models.fields import folded
from workflows.redaction import HIDDEN, compiled, redact

SHOWN_LENGTH = 200


def record_run_values(run: Run) -> None:
    """Insert the values at the search paths of the run's definition.

    A value is left out if it is missing, is a list or an object, does not have the declared type, or is hidden by a
    built-in redaction pattern. Call this function in the transaction that inserts the row of the run.
    """
    paths = run.definition.search_paths or []
    if paths and isinstance(run.input, dict):
        RunValue.objects.bulk_create(_values(run, paths))


def _values(run: Run, paths: list[dict[str, str]]) -> Iterator[RunValue]:
    payload = redact(run.input, compiled(), "/payload")
    for path, kind in {item["path"]: item["type"] for item in paths}.items():
        value = value_at(payload, path.removeprefix("payload."))
        columns = None if value in (MISSING, HIDDEN) else _columns(value, kind)
        if columns is not None:
            yield RunValue(tenant_id=run.tenant_id, run=run, definition_id=run.definition_id, path=path, **columns)


def _columns(value: Any, kind: str) -> dict[str, Any] | None:
    """Return the columns for a value of this type, or None if the value does not have the type."""
    if kind == "boolean":
        text = str(value).lower()
        return {"shown": text, "text": text} if isinstance(value, bool) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    shown = str(value).replace("\x00", "")[:SHOWN_LENGTH]
    columns: dict[str, Any] = {"shown": shown, "text": folded(shown)}
    if kind == "number":
        number = _number(value)
        return None if number is None else columns | {"number": number}
    if kind == "date":
        moment = moment_of(str(value))
        return None if moment is None else columns | {"moment": moment}
    return columns


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def moment_of(text: str) -> datetime | None:
    """Return the moment of an ISO 8601 date or time. A time without a zone is in UTC."""
    try:
        moment = parse_datetime(text)
        day = None if moment else parse_date(text)
        if day is not None:
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return None if moment is None else moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
