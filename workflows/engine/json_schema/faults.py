"""Whether something is a JSON Schema 2020-12 that values can be checked with, for whoever writes it down."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import re2
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

from workflows.engine.json_schema.check import MAX_PROBLEMS, Problem, json_pointer, value_problems, whole_problem
from workflows.engine.json_schema.links import LinkedSchema, all_subschemas, compile_pattern, link_schema
from workflows.engine.sizes import json_size

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Where the dynamic ones lead is known only while a value is looked at; the others are of older drafts.
UNSUPPORTED_KEYWORDS = {
    "$dynamicRef": "write $ref",
    "$dynamicAnchor": "write $anchor",
    "$recursiveRef": "write $ref",
    "$recursiveAnchor": "write $anchor",
    "dependencies": "write dependentRequired or dependentSchemas",
}


def schema_faults(schema: Any, *, max_bytes: int) -> list[Problem]:
    """What is wrong with a schema, with pointers into it; empty when values can be checked with it.

    A reference to another schema is no fault here: whether it is known is asked of `link_schema`.
    """
    size = json_size(schema)
    if size > max_bytes:
        return whole_problem(f"has {size} bytes; {max_bytes} are allowed")
    faults = value_problems(_meta_schema(), schema)
    if not faults:
        faults = [{"pointer": json_pointer(way), "message": message} for way, message in _own_rules(schema)]
    return faults[:MAX_PROBLEMS]


def _own_rules(schema: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for way, inner in all_subschemas(schema):
        if not isinstance(inner, dict):
            continue
        for keyword, instead in UNSUPPORTED_KEYWORDS.items():
            if keyword in inner:
                yield (*way, keyword), f"the keyword {keyword} is not supported; {instead}"
        if inner.get("$schema", DIALECT).rstrip("#") != DIALECT:
            yield (*way, "$schema"), f"must be {DIALECT}: schemas here are of 2020-12"
        patterns = [("pattern", inner["pattern"])] if "pattern" in inner else []
        patterns += [(f"patternProperties/{name}", name) for name in inner.get("patternProperties", ())]
        for place, pattern in patterns:
            try:
                compile_pattern(pattern)
            except re2.error as error:
                yield (
                    (*way, *place.split("/", 1)),
                    f"the pattern cannot be run in linear time (no look-around, no back references): {_words(error)}",
                )


def _words(error: re2.error) -> str:
    told = error.args[0] if error.args else ""
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)


@cache
def _meta_schema() -> LinkedSchema:
    """The specification's own schema of schemas; its dynamic references all lead to its root."""
    return link_schema(_fixed(REGISTRY.contents(DIALECT)), load=_vocabulary, base=DIALECT)


def _vocabulary(address: str) -> Any:
    return _fixed(REGISTRY.contents(address)) if address in REGISTRY else None


def _fixed(part: Any) -> Any:
    if isinstance(part, dict):
        is_dynamic = isinstance(part.get("$dynamicRef"), str)
        return {"$ref": DIALECT} if is_dynamic else {key: _fixed(value) for key, value in part.items()}
    return [_fixed(item) for item in part] if isinstance(part, list) else part
