"""Responses to human tasks against the form's JSON Schema (2020-12).

The same function answers the service before it asks Temporal, the update's validator and the workflow. So it reads
nothing from outside (references resolve within the schema only), and it is bounded, because a check that takes long would
hold a workflow task up for longer than Temporal waits: patterns run in linear time (RE2), every keyword that is looked at
is counted, and keywords that cannot be bounded so are refused.
"""

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import re2
from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from workflows.engine.sizes import MAX_FORM_BYTES, identity, json_size

MAX_CHECKS = 20_000
# They run property names through patterns that backtrack, or look at everything again and again.
REFUSED_KEYWORDS = frozenset(
    {"patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$dynamicAnchor"}
)
_checks: ContextVar[int] = ContextVar("checks")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def form_schema_problem(schema: Any) -> str | None:
    """What is wrong with a form, for its author; None when responses can be checked with it."""
    size = json_size(schema)
    if size > MAX_FORM_BYTES:
        return f"the form has {size} bytes; {MAX_FORM_BYTES} are allowed"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"the form is no JSON Schema: {_pointer(error)}: {error.message[:300]}"
    refused = _refused_keyword(schema)
    if refused is not None:
        return f"the keyword {refused} is not supported in forms"
    for pattern in _patterns(schema):
        try:
            re2.compile(pattern, _OPTIONS)
        except re2.error:
            return f"the pattern {pattern!r} cannot be run in linear time (no look-around, no back references)"
    return None


def form_problem(schema: dict[str, Any] | None, response: Any) -> str | None:
    """A sentence with a pointer about what does not fit, or None when all does."""
    size = json_size(response)
    if size > MAX_FORM_BYTES:
        return f"the response has {size} bytes; {MAX_FORM_BYTES} are allowed"
    if schema is None:
        return None
    _checks.set(MAX_CHECKS)
    try:
        error = best_match(_Validator(schema, registry=Registry()).iter_errors(response))
    except Unresolvable as unresolvable:
        return f"the form refers to something unknown: {unresolvable}"
    except RecursionError:
        return "the form refers to itself without end"
    except _TooCostly:
        return f"the response cannot be checked within {MAX_CHECKS} steps; the form is too complex for it"
    except Exception as error:  # noqa: BLE001  whatever the library raises of a value or a form is an answer: no
        return f"the response cannot be checked: {type(error).__name__}"
    return None if error is None else f"{_pointer(error)}: {error.message[:300]}"


def _pointer(error: ValidationError | SchemaError) -> str:
    return "/" + "/".join(str(part) for part in error.absolute_path)


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            yield from _patterns(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _patterns(item)


def _searches(pattern: str, text: str) -> bool:
    return re2.compile(pattern, _OPTIONS).search(text) is not None


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _searches(pattern, instance):
        yield ValidationError(f"{instance[:100]!r} does not match {pattern!r}")


def _unique(_validator: Any, wanted: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if wanted is True and isinstance(instance, list) and len({identity(item) for item in instance}) < len(instance):
        yield ValidationError("the entries are not unique")


def _refused_keyword(schema: Any) -> str | None:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in REFUSED_KEYWORDS:
                return key
            found = _refused_keyword(value)
            if found is not None:
                return found
    elif isinstance(schema, list):
        return next(filter(None, map(_refused_keyword, schema)), None)
    return None


class _TooCostly(Exception):
    """The count is used up."""


def _counted(check: Callable[..., Iterator[ValidationError] | None]) -> Callable[..., Iterator[ValidationError]]:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        left = _checks.get() - 1 - (len(value) if isinstance(value, list) else 0)
        if left < 0:
            raise _TooCostly
        _checks.set(left)
        yield from check(validator, value, instance, schema) or ()

    return run


_KEYWORDS = {**Draft202012Validator.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique}
_Validator = extend(Draft202012Validator, {name: _counted(check) for name, check in _KEYWORDS.items()})
