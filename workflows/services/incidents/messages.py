"""Normalised error messages and fingerprints of incidents. This module is pure.

Two failures with one cause differ in ids, numbers, times, addresses and quoted values. The normalised message has a
marker instead of each such part, so it is equal for both failures (docs/reference/incidents.md#grouping).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from workflows.json_numbers import canonical_json

MAX_LENGTH = 500
MARKER = re.compile(r"<(?:text|time|mail|address|id|number|url|host|path)>")
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d+)?)?"
# Values of these names say what went wrong, so they stay.
_KEPT_NAMES = "code|status|type|reason|error|category|state|field|kind|method|level|class"
_NAMES = "id|key|ref|reference|order|customer|user|account|invoice|payment|ticket|shipment|tenant|file|host|email"
_AFTER_NAME = "|".join(rf"(?<=\b{name} )" for name in _NAMES.split("|"))
# Two or more capitalised words after one of these words are the name of a person or a company. One capitalised word can
# be a word of the sentence, so it stays.
_PERSONS = "customer|client|user|patient|employee|contact|supplier|merchant|recipient|owner|holder|member"
_AFTER_PERSON = "|".join(rf"(?<=\b[{name[0].upper()}{name[0]}]{name[1:]} )" for name in _PERSONS.split("|"))
_CAPITALISED = r"[A-ZÀ-ÖØ-Þ][\w'’.]{0,30}[a-zß-öø-ÿ][\w'’-]{0,30}"
_BETWEEN = "(?:(?:van|von|de|der|den|del|di|da|la|le|al|&|and) ){0,3}"
_CODE_FILE = r"(?:py|java|js|ts|go|rb|php|cs|rs|c|cpp)"
# The first alternative that matches at a position is used. A dotted name such as payload.amount and a JSON pointer such
# as /payload/amount stay, because they say what is wrong. So only a name with a port, or after "host", is a host, and
# only a path to a file with an ending is a path.
_PARTS = (
    ("marker", MARKER.pattern),  # a message can contain the text of a marker
    ("kept", r"(?i:\b(?:http(?:/\d(?:\.\d)?)?|status|status code)[ :/=]+)[1-5]\d\d\b"),
    ("text", r"\"[^\"\n]*\"|“[^”\n]*”|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)|(?<!\w)‘[^’\n]*’(?!\w)"),
    ("url", r"\b[a-z][a-z0-9+.-]{1,15}://[^\s<>()]*[\w/]"),
    ("mail", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+"),
    ("time", rf"\b\d{{4}}-\d\d-\d\d(?:[T ]{_CLOCK})?(?:Z|[+-]\d\d:?\d\d)?(?![\w-])|\b\d\d:\d\d:\d\d\b"),
    ("address", r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"),
    ("host", rf"(?<![\w.-])(?:localhost|(?:[\w-]+\.)+(?!{_CODE_FILE}:)[a-z]{{2,}}):\d{{2,5}}\b"
             r"|(?:(?<=\bhost )|(?<=\bhostname )|(?<=\bserver )|(?<=\bresolve ))(?:[\w-]+\.)+[a-z]{2,}(?![\w.])"),
    ("path", r"(?<![\w.<>/\\])(?:[A-Za-z]:\\|~?/|\.\.?/)(?:[\w.@-]+[/\\])+[\w@-]+\.[A-Za-z]\w{0,4}\b"),
    ("person", rf"(?:{_AFTER_PERSON}){_CAPITALISED}(?: {_BETWEEN}{_CAPITALISED})+"),
    # The value of a unique key in a message of PostgreSQL: Key (name)=(Anna) already exists.
    ("value", r"(?<=\)=)\([^()\n]*\)"),
    ("pair", rf"\b(?!(?:{_KEPT_NAMES})=)[A-Za-z_]\w{{0,40}}=\w[^\s,;&()\[\]{{}}<>]*"),
    ("label", rf"(?i:\b(?:{_NAMES})(?:: ?| ?#))(?=[\w.@-]*[-_.@A-Z])\w[\w.@-]*\w"),
    ("amount", r"(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?= ?(?:ms|s|min|h|d|B|KB|MB|GB|KiB|MiB|GiB|EUR|USD|%)(?![\w]))"),
    ("id", r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[^\W\d_])\w[\w-]*"
           r"|(?<![\w-])(?:[a-f]{8,}|[A-Z]{2,}(?:-[A-Z]{2,})+)(?![\w-])"
           rf"|(?:{_AFTER_NAME})[A-Z][A-Z_-]{{2,}}(?![\w-])"),
    ("number", r"(?<![\w.])[-+]?\d+(?:[.,:]\d+)*"),
)  # fmt: skip
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PARTS))
_MARKER_OF = {"amount": "<number>", "person": "<text>"}
_NAME = re.compile(r"[^=:#]*[=:#] ?")
_SEPARATORS = (",", ", ", ";", "; ", " and ", " or ")


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
    return "".join(part.text for part in parts_of(message))[:MAX_LENGTH].rstrip()


@dataclass(frozen=True)
class Part:
    """Piece of a normalised message. `value`: what the marker `text` replaces, or None for a piece that stays."""

    text: str
    value: str | None = None


def parts_of(message: str) -> list[Part]:
    """Return the pieces of the normalised message, whatever its length. A list of equal markers is one piece."""
    text, end = " ".join(message.split()), 0
    parts: list[Part] = []
    for found in _PATTERN.finditer(text):
        for part in (Part(text[end : found.start()]), *_marked(found)):
            _add(parts, part)
        end = found.end()
    _add(parts, Part(text[end:]))
    return parts


def _add(parts: list[Part], part: Part) -> None:
    """Append a piece. Join it with the piece before, or with the list of equal markers that it continues."""
    if not part.text:
        return
    if parts and part.value is None and parts[-1].value is None:
        parts[-1] = Part(parts[-1].text + part.text)
    elif part.value is not None and len(parts) > 1 and parts[-1].text in _SEPARATORS and parts[-2].text == part.text:
        separator, before = parts.pop(), parts.pop()
        parts.append(Part(part.text, f"{before.value}{separator.text}{part.value}"))
    else:
        parts.append(part)


@dataclass(frozen=True)
class MarkerValues:
    """Marker of a normalised message, the different values that messages have in its place, and their number."""

    marker: str
    values: list[str]
    messages: int


def marker_values(message: str, originals: Iterable[str]) -> list[MarkerValues]:
    """Return what the messages with this normalised message have in place of each of its markers, in their order."""
    alike = [parts_of(original) for original in originals if normalised(original) == message]
    rows = [[part.value for part in parts if part.value is not None] for parts in alike]
    columns = zip(MARKER.findall(message), zip(*rows, strict=True), strict=False) if rows else ()
    return [MarkerValues(marker, list(dict.fromkeys(column)), len(rows)) for marker, column in columns]


def split_fingerprint(fingerprint: str, text: str) -> str:
    """Return the fingerprint for failures of an incident whose message contains a text."""
    return hashlib.sha256(canonical_json(["split", fingerprint, text]).encode()).hexdigest()


def others_fingerprint(cause: Cause) -> str:
    """Return the fingerprint for failures of one step and code whose messages have no incident of their own."""
    values = ["others", cause.definition_id, cause.step_id, cause.category, cause.code]
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def _marked(found: re.Match[str]) -> list[Part]:
    """Return the pieces in place of one match."""
    kind, text = str(found.lastgroup), found.group()
    if kind == "kept":
        return [Part(text)]
    if kind == "marker":
        return [Part(text, text)]
    if kind == "value":  # the parentheses stay
        return [Part("("), Part("<text>", text[1:-1]), Part(")")]
    if kind in ("pair", "label"):  # the name stays, and its value is replaced
        name = _NAME.match(text)
        kept = name.group() if name else ""
        return [Part(kept), Part("<text>", text[len(kept) :])]
    return [Part(_MARKER_OF.get(kind, f"<{kind}>"), text)]
