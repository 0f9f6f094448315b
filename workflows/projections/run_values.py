"""Business data of a run, from its payload when its row is inserted, and from its variables when the run ends

Source: docs/reference/screens.md#business-data
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime

from workflows.engine.filters import MISSING, value_at
from workflows.models import Definition, Run, RunValue
from workflows.models.fields import folded
from workflows.models.run_values import is_variable
from workflows.redaction import HIDDEN, compiled, redact, redact_output

SHOWN_LENGTH = 200


def record_run_values(run: Run) -> None:
    """Insert the values of the payload at the search paths of the run's definition.

    A value is left out if it is missing, is a list or an object, does not have the declared type, or is hidden by a
    built-in redaction pattern. Call this function in the transaction that inserts the row of the run.
    """
    paths = [item for item in run.definition.search_paths or [] if not is_variable(item["path"])]
    if paths and isinstance(run.input, dict):
        payload = redact(run.input, compiled(), "/payload")
        RunValue.objects.bulk_create(_values(run, paths, payload, prefix="payload."))


def record_end_values(run: Run) -> None:
    """Insert the values of variables at the search paths of the run's definition. The run has just ended.

    Idempotency: a repeated call replaces the values.
    Cost: one statement if the run has variables, and two more if the definition names variables.
    """
    variables = run.output.get("vars") if isinstance(run.output, dict) else None
    if not variables:
        return
    declared = Definition._base_manager.filter(id=run.definition_id).values_list("search_paths", flat=True)[0]
    paths = [item for item in declared or [] if is_variable(item["path"])]
    if paths:
        forget_end_values(run)
        shown = redact_output(run.output, compiled())["vars"]
        RunValue.objects.bulk_create(_values(run, paths, shown, prefix="vars."))


def forget_end_values(run: Run) -> None:
    """Delete the values of variables. Call this function when a reset has opened the run again."""
    RunValue.objects.filter(tenant_id=run.tenant_id, run=run, path__startswith="vars.").delete()


def _values(run: Run, paths: list[dict[str, str]], found: Any, *, prefix: str) -> Iterator[RunValue]:
    for path, kind in {item["path"]: item["type"] for item in paths}.items():
        value = value_at(found, path.removeprefix(prefix))
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
    if kind in ("number", "money"):
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
