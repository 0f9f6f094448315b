"""The `transform.*` actions: pure functions that run inside the workflow, without an activity.

Each function takes an object and returns `{"result": value}`. The functions are part of the engine's semantics version.
If the result of a function changes, the semantics version must change too. Functions that convert numbers to text
receive the expression contract version of the run.
"""

import re
from collections.abc import Callable
from typing import Any

from workflows.engine.date_transforms import DATE_FIELDS, date_add, date_difference, date_parse
from workflows.engine.errors import Category, RunError
from workflows.engine.expressions.contract import ExpressionError, compile_expression
from workflows.engine.filters import MISSING, value_at
from workflows.engine.sizes import MAX_OUTPUT_BYTES, identity, json_size, plain_copy
from workflows.engine.transform_input import invalid, take

# Arguments: the action input, and the version of the expression contract.
Transform = Callable[[Any, int], dict[str, Any]]

_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.-]+)\s*\}\}")


def _texts(value: dict[str, Any], name: str) -> list[str]:
    found = take(value, name, list)
    if not all(isinstance(item, str) for item in found):
        raise invalid(f"The field `{name}` of the action input must be a list of texts, but an entry is not a text.")
    return list(found)


def _pick(value: dict[str, Any], _contract: int) -> Any:
    source = take(value, "value", dict)
    return {key: source[key] for key in _texts(value, "keys") if key in source}


def _omit(value: dict[str, Any], _contract: int) -> Any:
    left_out = set(_texts(value, "keys"))
    return {key: item for key, item in take(value, "value", dict).items() if key not in left_out}


def _merge(value: dict[str, Any], _contract: int) -> Any:
    """Merge objects.

    A value of a later object replaces the value under the same key of an earlier object. If both values are objects,
    they are merged deeply.
    """
    result: dict[str, Any] = {}
    for item in take(value, "values", list):
        if not isinstance(item, dict):
            raise invalid(
                "The field `values` of the action input must be a list of objects, but an entry is no object."
            )
        _merge_into(result, item)
    return result


def _merge_into(result: dict[str, Any], over: dict[str, Any]) -> None:
    for key, item in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(item, dict):
            _merge_into(old, item)
        else:
            result[key] = plain_copy(item)


def _join(value: dict[str, Any], contract: int) -> Any:
    parts, separator, length = [], take(value, "separator", str, ""), 0
    for item in take(value, "values", list):
        parts.append(_text_of(item, contract))
        length += len(parts[-1]) + len(separator)
        _keep_size(length)
    return str(separator).join(parts)


def _split(value: dict[str, Any], _contract: int) -> Any:
    separator = take(value, "separator", str)
    if not separator:
        raise invalid("The field `separator` of the action input is empty. It must have at least one character.")
    return take(value, "text", str).split(separator)


def _unique(value: dict[str, Any], _contract: int) -> Any:
    seen: dict[str, Any] = {}
    for item in take(value, "values", list):
        seen.setdefault(identity(item), item)
    return list(seen.values())


def _sort(value: dict[str, Any], _contract: int) -> Any:
    """Sort a list by the values under the dotted path `by`. If `by` is absent, sort by the items themselves."""
    path = take(value, "by", str, "")
    items = take(value, "values", list)
    keys = [value_at(item, path) if path else item for item in items]
    is_numbers = all(isinstance(key, int | float) and not isinstance(key, bool) for key in keys)
    if not is_numbers and not all(isinstance(key, str) for key in keys):
        raise invalid(
            "The list cannot be sorted because its sort values are not all numbers and not all texts. "
            "Choose another path in `by`, or convert the values first."
        )
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=take(value, "descending", bool, False))
    return [items[position] for position in order]


def _chunk(value: dict[str, Any], _contract: int) -> Any:
    size = take(value, "size", int)
    if size < 1:
        raise invalid(f"The field `size` of the action input is {size}. It must be at least 1.")
    items = take(value, "values", list)
    return [items[start : start + size] for start in range(0, len(items), size)]


def _template(value: dict[str, Any], contract: int) -> Any:
    """Replace each `{{a.b}}` of a template by the value under that dotted path of `values`."""
    values, length = take(value, "values", dict, {}), 0

    def fill(match: re.Match[str]) -> str:
        nonlocal length
        found = value_at(values, match[1])
        if found is MISSING:
            raise invalid(
                f"The template refers to {match[1]!r}, but `values` has no such entry. "
                "Add the entry or change the template."
            )
        text = _text_of(found, contract)
        length += len(text)
        _keep_size(length)
        return text

    return _PLACEHOLDER.sub(fill, take(value, "template", str))


def _text_of(item: Any, contract: int) -> str:
    """Return the text of a value by the rules of `toString` in the expression contract."""
    if isinstance(item, str):
        return item
    try:
        return str(compile_expression("toString(x)", contract).evaluate({"x": item}, now_ms=0))
    except ExpressionError as error:
        raise invalid(f"A value of the action input cannot be converted to text: {error.message}") from error


def _keep_size(size: int) -> None:
    if size > MAX_OUTPUT_BYTES:
        message = f"The output of the action is larger than {MAX_OUTPUT_BYTES} bytes. Pass less data to the action."
        raise RunError(Category.VALIDATION, message, code="OUTPUT_TOO_LARGE")


def _transform(function: Callable[[dict[str, Any], int], Any]) -> Transform:
    def run(value: Any, contract: int) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid("The action input must be an object.")
        result = {"result": function(value, contract)}
        _keep_size(json_size(result))
        return result

    return run


# Functions by action id and version, which `action.call` names.
TRANSFORMS: dict[tuple[str, int], Transform] = {
    (f"transform.{name}", 1): _transform(function)
    for name, function in {
        "pick": _pick,
        "omit": _omit,
        "merge": _merge,
        "join": _join,
        "split": _split,
        "unique": _unique,
        "sort": _sort,
        "chunk": _chunk,
        "template": _template,
        "date_add": date_add,
        "date_difference": date_difference,
        "date_parse": date_parse,
    }.items()
}
# Input fields of each transform. Publishing refuses a definition with an unknown field.
TRANSFORM_FIELDS: dict[tuple[str, int], frozenset[str]] = {
    (f"transform.{name}", 1): frozenset(fields)
    for name, fields in {
        "pick": ("value", "keys"),
        "omit": ("value", "keys"),
        "merge": ("values",),
        "join": ("values", "separator"),
        "split": ("text", "separator"),
        "unique": ("values",),
        "sort": ("values", "by", "descending"),
        "chunk": ("values", "size"),
        "template": ("template", "values"),
        **DATE_FIELDS,
    }.items()
}
