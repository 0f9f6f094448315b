"""Entries of the pure actions `transform.*` in the catalogue: labels, schemas and examples."""

from dataclasses import dataclass
from typing import Any

from workflows.engine.date_transforms import OUTPUTS, UNITS

_OBJECT, _LIST, _TEXT = {"type": "object"}, {"type": "array"}, {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_MOMENT = {"type": ["string", "number"], "description": "RFC 3339 text with a zone, or epoch milliseconds."}
_OFFSET = {**_TEXT, "description": "`Z` or an offset such as `+02:00`."}
_AS = {"enum": list(OUTPUTS), "default": "iso"}


@dataclass(frozen=True)
class TransformEntry:
    """Entry of one pure action. `result` is the result of the example."""

    label: str
    description: str
    fields: dict[str, Any]
    required: tuple[str, ...]
    example: dict[str, Any]
    result: Any

    def input_schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": self.fields,
            "required": list(self.required),
            "additionalProperties": False,
        }


OUTPUT_SCHEMA: dict[str, Any] = {"type": "object", "properties": {"result": {}}, "required": ["result"]}

TRANSFORM_ENTRIES: dict[tuple[str, int], TransformEntry] = {
    ("transform.pick", 1): TransformEntry(
        "Keep some keys",
        "Returns the object with only these keys. A key that the object does not have is ignored.",
        {"value": _OBJECT, "keys": _TEXTS},
        ("value", "keys"),
        {"value": {"id": 7, "note": "x"}, "keys": ["id"]},
        {"id": 7},
    ),
    ("transform.omit", 1): TransformEntry(
        "Remove some keys",
        "Returns the object without these keys.",
        {"value": _OBJECT, "keys": _TEXTS},
        ("value", "keys"),
        {"value": {"id": 7, "note": "x"}, "keys": ["note"]},
        {"id": 7},
    ),
    ("transform.merge", 1): TransformEntry(
        "Merge objects",
        "Merges the objects deeply. A value of a later object replaces the value of an earlier object.",
        {"values": {"type": "array", "items": _OBJECT}},
        ("values",),
        {"values": [{"a": 1, "b": {"c": 2}}, {"b": {"d": 3}}]},
        {"a": 1, "b": {"c": 2, "d": 3}},
    ),
    ("transform.join", 1): TransformEntry(
        "Join texts",
        "Joins the values to one text. Numbers are converted as `toString` does.",
        {"values": _LIST, "separator": {**_TEXT, "default": ""}},
        ("values",),
        {"values": ["a", 1], "separator": ", "},
        "a, 1",
    ),
    ("transform.split", 1): TransformEntry(
        "Split a text",
        "Splits the text at each separator.",
        {"text": _TEXT, "separator": {**_TEXT, "minLength": 1}},
        ("text", "separator"),
        {"text": "a,b", "separator": ","},
        ["a", "b"],
    ),
    ("transform.unique", 1): TransformEntry(
        "Remove repeated entries",
        "Keeps the first of several equal entries. The numbers 1 and 1.0 are equal.",
        {"values": _LIST},
        ("values",),
        {"values": [1, 2, 1]},
        [1, 2],
    ),
    ("transform.sort", 1): TransformEntry(
        "Sort a list",
        "Sorts numbers or texts, or objects by the value under the dotted path `by`.",
        {"values": _LIST, "by": {**_TEXT, "default": ""}, "descending": {"type": "boolean", "default": False}},
        ("values",),
        {"values": [{"n": 2}, {"n": 1}], "by": "n"},
        [{"n": 1}, {"n": 2}],
    ),
    ("transform.chunk", 1): TransformEntry(
        "Divide a list",
        "Divides the list into lists of at most `size` entries.",
        {"values": _LIST, "size": {"type": "integer", "minimum": 1}},
        ("values", "size"),
        {"values": [1, 2, 3], "size": 2},
        [[1, 2], [3]],
    ),
    ("transform.template", 1): TransformEntry(
        "Fill a text template",
        "Replaces each `{{a.b}}` of the template by the value under this dotted path of `values`.",
        {"template": _TEXT, "values": {**_OBJECT, "default": {}}},
        ("template",),
        {"template": "Hello {{person.name}}", "values": {"person": {"name": "Mei"}}},
        "Hello Mei",
    ),
    ("transform.date_add", 1): TransformEntry(
        "Add to a date",
        "Adds years to milliseconds to a time in UTC or in a fixed offset.",
        {"value": _MOMENT, **{unit: {"type": "integer"} for unit in UNITS}, "offset": _OFFSET, "as": _AS},
        ("value",),
        {"value": "2026-01-31T08:00:00Z", "months": 1},
        "2026-02-28T08:00:00.000Z",
    ),
    ("transform.date_difference", 1): TransformEntry(
        "Difference of two dates",
        "Returns the number of whole units from one time to another.",
        {"from": _MOMENT, "to": _MOMENT, "unit": {"enum": list(UNITS)}, "offset": _OFFSET},
        ("from", "to", "unit"),
        {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T12:00:00Z", "unit": "days"},
        2,
    ),
    ("transform.date_parse", 1): TransformEntry(
        "Read a date",
        "Reads an RFC 3339 text, or a text in the given format.",
        {"text": _TEXT, "format": _TEXT, "offset": _OFFSET, "as": _AS},
        ("text",),
        {"text": "2026-01-31T08:00:00+01:00", "as": "ms"},
        1_769_842_800_000,
    ),
}
