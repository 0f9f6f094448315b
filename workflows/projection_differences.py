"""Differences between a run's rows and Temporal, field by field. The texts of a difference contain no payload."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_TEXT_LENGTH = 100

# For each row, the values of its fields by field name. The key of a row is its kind, followed by the values that
# identify the row within the run.
Rows = dict[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Difference:
    """Difference of one field or one row.

    `row` is None if the row is missing; `temporal` is None if no history has it.
    """

    where: str
    field: str
    row: Any
    temporal: Any

    def texts(self) -> tuple[str, str]:
        """Return the two values as texts for screens and logs."""
        return _text(self.row), _text(self.temporal)

    def __str__(self) -> str:
        return f"{self.where} {self.field}: {' -> '.join(self.texts())}"


def differences(before: Rows, after: Rows) -> list[Difference]:
    """Compare the rows in the order of their keys. If a row is missing on one side, this is one difference."""
    found = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        where = " ".join(part for part in key if part)
        if old is None or new is None:
            old_status, new_status = (None if row is None else row.get("status") for row in (old, new))
            found.append(Difference(where, "row", old_status, new_status))
            continue
        found += [Difference(where, name, old[name], new[name]) for name in new if old[name] != new[name]]
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"JSON of {len(json.dumps(value, default=str))} characters"
    text = value.isoformat() if isinstance(value, datetime) else "none" if value is None else str(value)
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[: MAX_TEXT_LENGTH - 1]}…"
