"""Where a run's rows differ from what Temporal says: field by field, told without payloads."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAX_TOLD = 100

# Fields by name, of rows by what each is.
Rows = dict[tuple[str, ...], dict[str, Any]]


@dataclass(frozen=True)
class Difference:
    """`row` is None where the row is missing, `temporal` where no history tells of it."""

    where: str
    field: str
    row: Any
    temporal: Any

    def told(self) -> tuple[str, str]:
        """Both sides for screens and logs, which show no payload."""
        return _told(self.row), _told(self.temporal)

    def __str__(self) -> str:
        return f"{self.where} {self.field}: {' -> '.join(self.told())}"


def differences(before: Rows, after: Rows) -> list[Difference]:
    """In the order of the rows; a row that is missing on one side is one difference."""
    found = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        where = " ".join(part for part in key if part)
        if old is None or new is None:
            status, wanted = (None if row is None else row.get("status") for row in (old, new))
            found.append(Difference(where, "row", status, wanted))
            continue
        found += [Difference(where, name, old[name], new[name]) for name in new if old[name] != new[name]]
    return found


def _told(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"JSON of {len(json.dumps(value, default=str))} characters"
    text = value.isoformat() if isinstance(value, datetime) else "none" if value is None else str(value)
    return text if len(text) <= MAX_TOLD else f"{text[: MAX_TOLD - 1]}…"
