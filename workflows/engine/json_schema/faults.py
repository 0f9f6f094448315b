"""Check that a document is a usable JSON Schema 2020-12, and return its faults for the author."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import re2
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

from workflows.engine.json_schema.check import MAX_PROBLEMS, Problem, json_pointer, value_problems, whole_problem
from workflows.engine.json_schema.links import LinkedSchema, all_subschemas, compile_pattern, link_schema
from workflows.engine.sizes import json_size

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Keywords that are not supported. The target of a dynamic reference is known only during the check of a value. The
# other keywords are from older drafts.
UNSUPPORTED_KEYWORDS = {
    "$dynamicRef": "write $ref",
    "$dynamicAnchor": "write $anchor",
    "$recursiveRef": "write $ref",
    "$recursiveAnchor": "write $anchor",
    "dependencies": "write dependentRequired or dependentSchemas",
}


def schema_faults(schema: Any, *, max_bytes: int) -> list[Problem]:
    """Return the faults of a schema, each with a pointer. If there are none, values can be checked with the schema.

    A reference to an unknown schema is not a fault here. `link_schema` reports such a reference.
    """
    size = json_size(schema)
    if size > max_bytes:
        return whole_problem(f"has {size} bytes, but at most {max_bytes} bytes are allowed")
    faults = value_problems(_meta_schema(), schema)
    if not faults:
        faults = [{"pointer": json_pointer(path), "message": message} for path, message in _own_rules(schema)]
    return faults[:MAX_PROBLEMS]


def _own_rules(schema: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path and the message of each fault that the meta-schema does not find."""
    for path, inner in all_subschemas(schema):
        if not isinstance(inner, dict):
            continue
        for keyword, instead in UNSUPPORTED_KEYWORDS.items():
            if keyword in inner:
                yield (*path, keyword), f"the keyword {keyword} is not supported; {instead}"
        if inner.get("$schema", DIALECT).rstrip("#") != DIALECT:
            yield (*path, "$schema"), f"must be {DIALECT}, because only JSON Schema 2020-12 is supported"
        patterns = [("pattern", inner["pattern"])] if "pattern" in inner else []
        patterns += [(f"patternProperties/{name}", name) for name in inner.get("patternProperties", ())]
        for place, pattern in patterns:
            try:
                compile_pattern(pattern)
            except re2.error as error:
                yield (
                    (*path, *place.split("/", 1)),
                    "the pattern cannot be run in linear time; look-around and back references are not supported: "
                    f"{_error_text(error)}",
                )


def _error_text(error: re2.error) -> str:
    text = error.args[0] if error.args else ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


@cache
def _meta_schema() -> LinkedSchema:
    """Return the meta-schema of the specification, with its references resolved."""
    return link_schema(_without_dynamic_refs(REGISTRY.contents(DIALECT)), load=_vocabulary, base=DIALECT)


def _vocabulary(address: str) -> Any:
    return _without_dynamic_refs(REGISTRY.contents(address)) if address in REGISTRY else None


def _without_dynamic_refs(part: Any) -> Any:
    """Replace each dynamic reference by a reference to the root.

    In the meta-schema, every dynamic reference leads there.
    """
    if isinstance(part, dict):
        if isinstance(part.get("$dynamicRef"), str):
            return {"$ref": DIALECT}
        return {key: _without_dynamic_refs(value) for key, value in part.items()}
    return [_without_dynamic_refs(item) for item in part] if isinstance(part, list) else part
