"""Sizes of JSON values and the limits that keep every payload under what Temporal takes.

The server terminates a run over 2 MB in one payload, and nobody can catch that. A run that goes on in a new execution
carries its definition, scopes, an attempt's input, gathered records and the ids of consumed events in one payload, so
these limits together must stay under it. Units: bytes of compact JSON.
"""

import json
from typing import Any

MAX_SCOPE_BYTES = 1_048_576
MAX_DEFINITION_BYTES = 262_144
MAX_ACTION_INPUT_BYTES = 262_144
MAX_RECORD_BYTES = 131_072
MAX_FILTER_BYTES = 16_384
MAX_FORM_BYTES = 65_536
MAX_TASK_BYTES = 65_536
MAX_OUTPUT_BYTES = 262_144
MAX_ERROR_DETAIL_BYTES = 16_384
MAX_ERROR_MESSAGE_LENGTH = 4_000
# Above all of them, with room for their envelopes and for encryption.
MAX_PAYLOAD_BYTES = 2_000_000


def json_size(value: Any) -> int:
    """Bytes of the compact JSON text of a value, or of a dataclass that travels as an object."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=vars)
    return len(text.encode("utf-8", "surrogatepass"))


def identity(item: Any) -> str:
    """One text for equal JSON values: 1 and 1.0 are one number, the order of keys does not matter."""
    if isinstance(item, float) and item.is_integer():
        item = int(item)
    if isinstance(item, list):
        return "[" + ",".join(map(identity, item)) + "]"
    if isinstance(item, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{identity(item[key])}" for key in sorted(item)) + "}"
    return json.dumps(item)


def list_index(segment: str) -> int | None:
    """The index that a segment of a path names, or None."""
    return int(segment) if len(segment) <= 9 and segment.isascii() and segment.isdecimal() else None


def plain_copy(value: Any) -> Any:
    """A copy of a JSON value that shares nothing with it."""
    if isinstance(value, dict):
        return {key: plain_copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_copy(item) for item in value]
    return value
