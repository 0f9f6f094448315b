"""The concurrency key of a start: `concurrency {key, onConflict}` in the metadata of a definition. Pure functions.

Source: docs/reference/events.md#concurrency-keys
"""

from enum import StrEnum
from typing import Any

from workflows.engine.errors import RunError
from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.keys import correlation_key
from workflows.engine.mapping import EXPRESSION_KEY, is_expression, resolve


class OnConflict(StrEnum):
    """Effects of a start while another run with its key is open."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_OLDEST = "cancelOldest"


class KeyInvalid(Exception):
    """The key of a start cannot be computed. The message is the rest of a sentence about the key."""


def rule_problem(rule: Any) -> str | None:
    """Return the rest of a sentence that says why a rule is invalid, or None."""
    if not isinstance(rule, dict) or rule.keys() != {"key", "onConflict"}:
        return f'must be an object {{key, onConflict}}, where key is an expression: {{"{EXPRESSION_KEY}": "source"}}'
    if rule["onConflict"] not in list(OnConflict):
        return f"has another `onConflict` than {', '.join(OnConflict)}"
    if not is_expression(rule["key"]):
        return f'has a `key` that is not an expression: {{"{EXPRESSION_KEY}": "source"}}'
    try:
        compile_expression(rule["key"][EXPRESSION_KEY])
    except ExpressionError as error:
        return f"has a `key` with an error: {error.message}"
    return None


def run_key(rule: dict[str, Any], payload: Any, *, now_ms: int) -> str | None:
    """Return the concurrency key of a start with this payload. None means that the start has no limit.

    The expression sees only `payload`.
    Errors: KeyInvalid; the author must act.
    """
    try:
        value = resolve(rule["key"], {"payload": payload}, now_ms=now_ms, where="concurrency.key")
    except RunError as error:
        raise KeyInvalid(f"cannot be computed: {error.message}") from error
    if value is None:
        return None
    key = correlation_key(value)
    if key is None:
        raise KeyInvalid("is empty, too long, an object or a list; it must be a text, a number or null")
    return key
