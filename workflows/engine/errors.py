"""Errors of a run, in the form that an author's `catch`, the run row and the screens show.

Source: docs/reference/engine.md#errors
"""

import math
from enum import StrEnum
from typing import Any

from workflows.engine.clock import iso_time
from workflows.engine.sizes import MAX_ERROR_DETAIL_BYTES, MAX_ERROR_MESSAGE_LENGTH, json_size


class Category(StrEnum):
    VALIDATION = "ValidationError"
    EXPRESSION = "ExpressionError"
    TRANSIENT = "TransientError"
    ACTION = "ActionError"
    TIMEOUT = "TimeoutError"
    CHILD_WORKFLOW = "ChildWorkflowError"
    QUOTA = "QuotaExceeded"
    CANCELLATION = "Cancellation"
    CORRUPTION = "EngineCorruption"


# Categories whose errors are not retried if the author's policy has no `retryOn`. The same input would lead to the same
# error (docs/reference/language.md#step-fields).
NOT_RETRIED = frozenset(
    {Category.VALIDATION, Category.EXPRESSION, Category.QUOTA, Category.CANCELLATION, Category.CORRUPTION}
)


class RunError(Exception):
    """Failure of a step.

    The engine records the failure. Then it retries the step, continues at the place that catches the error, or ends the
    run.
    """

    def __init__(
        self, category: str, message: str, *, code: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        self.category = category
        self.message = message
        self.code = code
        self.details = details
        super().__init__(f"{category}: {message}")

    def as_object(self, *, node_path: str, now_ms: int) -> dict[str, Any]:
        """Return the error object for records and for the `error` scope.

        The message and the details are bounded, because errors travel in projection records.
        Shapes: `{category, message, nodePath, at, code?, details?}`.
        """
        error: dict[str, Any] = {
            "category": str(self.category) if self.category in set(Category) else str(Category.ACTION),
            "message": _storable(self.message[:MAX_ERROR_MESSAGE_LENGTH]),
            "nodePath": node_path,
            "at": iso_time(now_ms),
        }
        if self.code:
            error["code"] = _storable(str(self.code)[:100])
        if self.details:
            details = _storable(self.details)
            size = json_size(details)
            error["details"] = details if size <= MAX_ERROR_DETAIL_BYTES else {"omittedBytes": size}
        return error


def _storable(value: Any, depth: int = 0) -> Any:
    """Convert any Python value to JSON that PostgreSQL can store and Temporal can send."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if value is None or isinstance(value, bool | int):
        return value
    if depth < 30 and isinstance(value, dict):
        return {_storable(str(key)): _storable(item, depth + 1) for key, item in value.items()}
    if depth < 30 and isinstance(value, list | tuple):
        return [_storable(item, depth + 1) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _storable(str(value)[:1000])
