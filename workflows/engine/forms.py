"""Responses to human tasks against the form's JSON Schema (2020-12).

The same function answers the service before it asks Temporal, the update's validator and the workflow. So it reads
nothing from outside (references resolve within the schema only), and its patterns run in linear time (RE2), because a
pattern that backtracks would hold a workflow task up for longer than Temporal waits.
"""

from collections.abc import Iterator
from typing import Any

import re2
from jsonschema import Draft202012Validator, SchemaError
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from workflows.engine.sizes import MAX_FORM_BYTES, json_size

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
    try:
        error = best_match(_Validator(schema, registry=Registry()).iter_errors(response))
    except Unresolvable as unresolvable:
        return f"the form refers to something unknown: {unresolvable}"
    except RecursionError:
        return "the form refers to itself without end"
    except re2.error:
        return "a pattern of the form cannot be run in linear time"
    return None if error is None else f"{_pointer(error)}: {error.message[:300]}"


def _pointer(error: ValidationError | SchemaError) -> str:
    return "/" + "/".join(str(part) for part in error.absolute_path)


def _patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "pattern" and isinstance(value, str):
                yield value
            if key == "patternProperties" and isinstance(value, dict):
                yield from value
            yield from _patterns(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _patterns(item)


def _searches(pattern: str, text: str) -> bool:
    return re2.compile(pattern, _OPTIONS).search(text) is not None


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _searches(pattern, instance):
        yield ValidationError(f"{instance[:100]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, schema in patterns.items():
        for name, value in instance.items():
            if _searches(pattern, name):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


_Validator = extend(Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties})
