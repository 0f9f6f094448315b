"""Action steps for definitions in tests."""

from typing import Any


def action_step(
    step_id: str = "call", *, action: str = "http.request", retry: dict[str, Any] | None = None, **config: Any
) -> dict[str, Any]:
    """Return an `action.call` step that saves its output as `answer`. `config` adds fields or replaces them."""
    step = {
        "id": step_id,
        "type": "action.call",
        "config": {"actionId": action, "version": 1, "saveAs": "answer", **config},
    }
    return {**step, "retry": retry} if retry else step
