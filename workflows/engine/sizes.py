"""Sizes of JSON values, and the limits that keep every payload below Temporal's limit.

The server terminates a run that sends more than 2 MB in one payload, and the run cannot catch this. A run that
continues as new sends one payload with its definition, its scopes, the input of an attempt, gathered records and the
ids of consumed events. The limits of these parts together must therefore stay below 2 MB.

Units: bytes of compact JSON.
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
# Larger than every limit above, because the payload also contains the envelope and grows by encryption.
MAX_PAYLOAD_BYTES = 2_000_000


def json_size(value: Any) -> int:
    """Return the size of the compact JSON text of a value. A dataclass is measured as an object with the same fields.

    Units: bytes of UTF-8.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=vars)
    return len(text.encode("utf-8", "surrogatepass"))


def identity(item: Any) -> str:
    """Return a text that is the same for equal JSON values. 1 and 1.0 are equal; the order of keys does not matter."""
    if isinstance(item, float) and item.is_integer():
        item = int(item)
    if isinstance(item, list):
        return "[" + ",".join(map(identity, item)) + "]"
    if isinstance(item, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{identity(item[key])}" for key in sorted(item)) + "}"
    return json.dumps(item)


def list_index(segment: str) -> int | None:
    """Return the list index that a path segment names, or None if the segment is not an index."""
    return int(segment) if len(segment) <= 9 and segment.isascii() and segment.isdecimal() else None


def plain_copy(value: Any) -> Any:
    """Return a deep copy of a JSON value."""
    if isinstance(value, dict):
        return {key: plain_copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_copy(item) for item in value]
    return value
