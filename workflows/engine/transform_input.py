"""Reading of the input of a `transform.*` action. Each function raises an error that names the wrong field."""

from typing import Any

from workflows.engine.errors import Category, RunError
from workflows.engine.filters import MISSING

_KIND_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a whole number", bool: "true or false"}


def invalid(message: str) -> RunError:
    return RunError(Category.VALIDATION, message, code="ACTION_INPUT_INVALID")


def take(value: dict[str, Any], name: str, kind: type, default: Any = MISSING) -> Any:
    """Return a field of the input. Errors: RunError ACTION_INPUT_INVALID if it is missing or has another type."""
    found = value.get(name, default)
    if found is MISSING:
        raise invalid(f"The field `{name}` is missing from the action input. Add it to `inputMapping`.")
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise invalid(f"The field `{name}` of the action input must be {_KIND_NAMES[kind]}.")
    return found
