"""Durations and deadlines of waits: from the value of an author's field to epoch milliseconds.

Source: docs/reference/language.md#durations-and-deadlines.
"""

from typing import Any

from workflows.engine.clock import MAX_MS, is_in_seconds, parse_moment
from workflows.engine.errors import Category, RunError
from workflows.engine.mapping import is_expression
from workflows.engine.time_values import duration_problem
from workflows.engine.turn import Turn


def due_after(turn: Turn, duration: Any, where: str) -> int:
    """Return the moment at which a duration from now ends. A duration of 0 or less ends now.

    `duration` is a whole number of milliseconds, or an expression that yields one. `where` is the name of its field.
    Errors: RunError ValidationError DURATION_INVALID for any other value; the author must act.
    """
    found = turn.resolve(duration, where) if is_expression(duration) else duration
    problem = duration_problem(found)
    if problem is not None:
        raise RunError(
            Category.VALIDATION,
            f"The value of `{where}` {problem}. Correct the expression in `{where}`.",
            code="DURATION_INVALID",
        )
    return min(turn.now_ms + max(0, int(found)), MAX_MS)


def moment_of(turn: Turn, value: Any, where: str) -> int:
    """Return the moment that an expression or a literal yields.

    Errors: RunError ExpressionError TIME_INVALID if the value is not a time; the author must act.
    """
    found = turn.resolve(value, where)
    if turn.semantics >= 2 and is_in_seconds(found):
        raise RunError(
            Category.EXPRESSION,
            f"The value of `{where}` is the number {found}. This can only be a time in seconds, but `{where}` needs "
            "milliseconds since 1970. Multiply it by 1000.",
            code="TIME_INVALID",
        )
    moment = parse_moment(found)
    if moment is None:
        raise RunError(
            Category.EXPRESSION,
            f"The value of `{where}` is not a time. It must be ISO 8601 text with a zone, or epoch milliseconds.",
            code="TIME_INVALID",
        )
    return moment


def deadline_of(turn: Turn, config: dict[str, Any], duration_field: str) -> int | None:
    """Return the deadline of a wait, or None if it has none. It comes from `deadline` or from the duration field.

    A deadline in the past is not moved to the present, because only an event that was accepted before it may win.
    """
    if config.get("deadline") is not None:
        return moment_of(turn, config["deadline"], "deadline")
    duration = config.get(duration_field)
    return None if duration is None else due_after(turn, duration, duration_field)
