"""Skeleton of a payload from its JSON Schema, for a form. Pure.

A skeleton has the properties of the schema with empty values. It holds no value that could be sent by mistake.
"""

from collections.abc import Sequence
from typing import Any

from workflows.engine.filters import MISSING, value_at
from workflows.engine.keys import correlation_key

MAX_DEPTH, MAX_PROPERTIES = 4, 100
_EMPTY: dict[str, Any] = {"string": "", "array": [], "object": {}, "boolean": None, "number": None, "integer": None}


def payload_skeleton(schema: Any, *, depth: int = 0) -> Any:
    """Return an object with the properties of the schema. A text is empty, a number or a boolean is null.

    A value is filled in only if the schema allows no other: `const`, or `enum` with one value.

    Properties of referenced schemas, and of combined schemas (`anyOf`, ...), are left out.
    """
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return schema["const"]
    values = schema.get("enum")
    if isinstance(values, list) and values:
        is_text = all(isinstance(value, str) for value in values)
        return values[0] if len(values) == 1 else "" if is_text else None
    kinds = schema.get("type", "object" if "properties" in schema else None)
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    properties = schema.get("properties")
    if kind != "object" or not isinstance(properties, dict) or depth >= MAX_DEPTH:
        empty = _EMPTY.get(kind) if isinstance(kind, str) else None
        return type(empty)() if isinstance(empty, list | dict) else empty
    names = list(properties)[:MAX_PROPERTIES]
    return {name: payload_skeleton(properties[name], depth=depth + 1) for name in names}


def with_value_at(payload: dict[str, Any], path: str, value: Any) -> None:
    """Write a value at a dotted path of a payload. Create missing objects. Do nothing if the path leads elsewhere."""
    node: Any = payload
    *way, last = path.removeprefix("payload.").split(".")
    for name in way:
        if not isinstance(node, dict):
            return
        if not isinstance(node.get(name), dict | list):
            node[name] = {}
        node = node[name]
    if isinstance(node, dict):
        node[last] = value


def with_key(
    payload: dict[str, Any],
    places: Sequence[dict[str, Any]],
    key: str,
    *,
    replaces: str = "",
    paths: Sequence[str] = (),
) -> str:
    """Write a correlation key at the path of the payload from which the portal takes the key. Return this path.

    `places` is the stored trace of the search for keys (`correlate_event`). The path is the one that gave the key
    `replaces`, else the first one that gave a key, else the first configured one without a value. A number stays a
    number. Return an empty text if the key did not come from the payload and no path is configured.

    `paths` are the configured paths of the event type. If the key came from the envelope, the first of them with the
    same key as a value is the path. Otherwise the payload would name another case than the key.
    """
    found = [place for place in places if place["found"]]
    wanted = [place for place in found if place.get("key") == replaces] or found
    configured = [place for place in places if place["source"] not in ("envelope", "payload")]
    path = next((place["path"] for place in wanted or configured), "")
    if replaces and not path.startswith("payload."):
        inside = [path.removeprefix("payload.") for path in paths]
        found_in = {path: value_at(payload, path) for path in inside}
        same = (p for p, value in found_in.items() if value is not MISSING and correlation_key(value) == replaces)
        path = next((f"payload.{path}" for path in same), "")
    if not path.startswith("payload."):
        return ""
    present = value_at(payload, path.removeprefix("payload."))
    if isinstance(present, dict | list):
        return ""
    is_number = isinstance(present, int) and not isinstance(present, bool) and key.isascii() and key.isdecimal()
    with_value_at(payload, path, int(key) if is_number and str(int(key)) == key else key)
    return "" if value_at(payload, path.removeprefix("payload.")) is MISSING else path
