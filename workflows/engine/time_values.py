"""Checks of values that must be a duration or a time. Validation and runs use the same checks.

Source: docs/reference/language.md#durations-and-deadlines.
"""

from typing import Any

from workflows.engine.clock import MAX_MS, is_in_seconds, parse_moment
from workflows.engine.json_schema.value_rules import kind_of


def duration_problem(value: Any) -> str | None:
    """Return the rest of a sentence about a value that is no duration in milliseconds, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"has the type {kind_of(value)}. It must be a whole number of milliseconds"
    if isinstance(value, float) and not value.is_integer():
        return f"is {value}. It must be a whole number of milliseconds"
    if value > MAX_MS:
        return f"is too large. The limit is {MAX_MS} milliseconds"
    return None


def moment_problem(value: Any) -> str | None:
    """Return the rest of a sentence about a value that is no time for `until` or `deadline`, or None."""
    if is_in_seconds(value):
        return f"is the number {value}, which can only be a time in seconds; milliseconds are needed"
    if parse_moment(value) is None:
        return "is not a time: ISO 8601 text with a zone, or milliseconds since 1970"
    return None
