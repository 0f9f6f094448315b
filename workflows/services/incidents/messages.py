"""Normalised error messages and fingerprints of incidents. This module is pure.

Two failures with one cause differ in ids, numbers, times and quoted values. The normalised message has a marker instead
of each such part, so it is equal for both failures (docs/reference/incidents.md#grouping).
"""

import hashlib
import re
from dataclasses import dataclass

from workflows.json_numbers import canonical_json

MAX_LENGTH = 500
MARKER = re.compile(r"<(?:text|time|mail|address|id|number)>")
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
# The first alternative that matches at a position is used.
_PARTS = (
    ("kept", r"(?i:\b(?:http(?:/\d(?:\.\d)?)?|status|status code)[ :/=]+)[1-5]\d\d\b"),
    ("text", r"\"[^\"\n]*\"|“[^”\n]*”|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)|(?<!\w)‘[^’\n]*’(?!\w)"),
    ("mail", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"),
    ("time", rf"\b\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK})?(?:Z|[+-]\d\d:?\d\d)?(?![\w-])|\b\d\d:\d\d:\d\d\b"),
    ("address", r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"),
    ("amount", r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?= ?(?:ms|s|min|h|d|B|KB|MB|GB|KiB|MiB|GiB|EUR|USD|%)(?![\w]))"),
    ("id", r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]*"),
    ("number", r"(?<![\w.])[-+]?\d+(?:[.,:]\d+)*"),
)
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PARTS))
_MARKER_OF = {"amount": "<number>"}
_LIST = re.compile(r"(<\w+>)(?:(?:, ?|; ?| and | or )\1)+")


@dataclass(frozen=True)
class Cause:
    """Values that are equal in all failures of one incident."""

    definition_id: str
    step_id: str
    category: str
    code: str
    message: str

    def fingerprint(self) -> str:
        values = [self.definition_id, self.step_id, self.category, self.code, self.message]
        return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def normalised(message: str) -> str:
    """Return the message with a marker instead of each id, number, time, address and quoted text.

    A list of equal markers becomes one marker, because lists differ in their length. HTTP statuses are kept. At most
    MAX_LENGTH characters are returned.
    """
    text = _PATTERN.sub(_marker, " ".join(message.split()))
    return _LIST.sub(r"\1", text)[:MAX_LENGTH].rstrip()


def split_fingerprint(fingerprint: str, text: str) -> str:
    """Return the fingerprint for failures of an incident whose message contains a text."""
    return hashlib.sha256(canonical_json(["split", fingerprint, text]).encode()).hexdigest()


def _marker(found: re.Match[str]) -> str:
    kind = str(found.lastgroup)
    return found.group() if kind == "kept" else _MARKER_OF.get(kind, f"<{kind}>")
