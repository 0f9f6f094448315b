"""Fields of a task's form, made from its JSON Schema.

A field has a name in the HTML form: `response` and the JSON pointer of its value, such as `response/items/0/amount`.
The typed values are lists of texts by name. A list of objects has one group of fields for each row; the number of its
rows is the value of the name with `#rows`. The name with `#none` is a box for "no entries".

Source: docs/reference/engine.md#human-tasks
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workflows.admin.task_words import words_of
from workflows.json_numbers import write_json

ROOT = "response"
ROWS, NONE = "#rows", "#none"
# Above these limits the response, or a part of it, is entered as JSON.
MAX_DEPTH, MAX_FIELDS, MAX_ROWS = 6, 300, 100
MOST_RADIOS = 6
LONG_TEXT = 200

Typed = Mapping[str, list[str]]


@dataclass(frozen=True)
class Option:
    """Value that can be chosen, as JSON text. `note` explains its effect."""

    value: str
    label: str
    note: str = ""


@dataclass
class FormField:
    """Field with what was typed. `included` are the rows of a list whose values are part of the response.

    `kind` is object, list, choice, checks, text, long, date, datetime, number or json.
    """

    kind: str
    key: str
    pointer: str
    label: str
    help: str
    is_required: bool
    schema: Any
    typed: list[str] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)
    children: list["FormField"] = field(default_factory=list)
    included: list["FormField"] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    has_none_box: bool = False
    is_none: bool = False
    is_in_row: bool = False
    takes_whole_width: bool = False

    @property
    def name(self) -> str:
        return f"{ROOT}{self.pointer}"

    @property
    def html_id(self) -> str:
        return "f" + re.sub(r"[^A-Za-z0-9]", lambda found: f"-{ord(found.group()):x}-", self.pointer)

    @property
    def text(self) -> str:
        return self.typed[0] if self.typed else ""

    @property
    def is_select(self) -> bool:
        return len(self.options) > MOST_RADIOS

    @property
    def is_wide(self) -> bool:
        """Return True if the field takes the whole width of the form."""
        is_short_choice = self.kind == "choice" and self.is_select
        return self.takes_whole_width or not (self.kind in ("text", "date", "datetime", "number") or is_short_choice)

    @property
    def css(self) -> str:
        """Return the classes of the field. The output of a decision is shown only if the effect happened."""
        marks = {"full": self.is_wide, "only-happened": self.key == "output", "has-value": self.text or self.errors}
        return " ".join(name for name, holds in marks.items() if holds)

    @property
    def is_text_area(self) -> bool:
        return self.kind in ("long", "json")

    @property
    def text_css(self) -> str:
        return "in mono json" if self.kind == "json" else "in"

    @property
    def longest(self) -> int | None:
        """Return the greatest number of characters of a long text, which the page counts."""
        most = self.schema.get("maxLength")
        return most if self.kind == "long" and isinstance(most, int) else None

    @property
    def rows_name(self) -> str:
        return f"{self.name}{ROWS}"

    @property
    def none_name(self) -> str:
        return f"{self.name}{NONE}"

    @property
    def can_grow(self) -> bool:
        most = self.schema.get("maxItems")
        return len(self.children) < min(MAX_ROWS, most if isinstance(most, int) else MAX_ROWS)

    def all(self) -> list["FormField"]:
        """Return this field and all fields below it, in the order of the page."""
        return [self, *(below for child in self.children for below in child.all())]


class _TooManyFields(Exception):
    """The form would have more than MAX_FIELDS fields."""


class Builder:
    """Builder of the fields of one schema with what was typed."""

    def __init__(self, root: Any, typed: Typed) -> None:
        self.root = root
        self.typed = typed
        self.number = 0

    def build(self, key: str, schema: Any, pointer: str, *, is_required: bool, depth: int) -> FormField:
        self.number += 1
        if self.number > MAX_FIELDS:
            raise _TooManyFields
        schema, is_nullable = _without_null(self._resolved(schema))
        described = schema if isinstance(schema, dict) else {}
        made = FormField(
            _kind(described, depth), key, pointer, _label(described, key), help_text(described), is_required, described
        )
        made.typed = list(self.typed.get(made.name, []))
        # A person cannot type null or an empty list, so a required field has a box for it.
        made.has_none_box = is_required and (is_nullable or (made.kind in ("list", "checks") and not _least(described)))
        made.is_none = made.none_name in self.typed
        if made.kind == "choice":
            made.options = _options(described) or []
        elif made.kind == "checks":
            made.options = _options(self._resolved(described["items"])) or []
        elif made.kind == "object":
            made.children = self._properties(described, pointer, depth)
        elif made.kind == "list":
            made.children = [
                self._row(made, described["items"], index, depth) for index in range(self._row_count(made))
            ]
        return made

    def _properties(self, schema: dict[str, Any], pointer: str, depth: int) -> list[FormField]:
        required = schema.get("required", [])
        return [
            self.build(name, below, f"{pointer}/{escaped(name)}", is_required=name in required, depth=depth + 1)
            for name, below in schema["properties"].items()
        ]

    def _row(self, parent: FormField, schema: Any, index: int, depth: int) -> FormField:
        row = self.build(str(index), schema, f"{parent.pointer}/{index}", is_required=False, depth=depth + 1)
        row.label, row.is_in_row = f"{parent.label} {index + 1}", True
        return row

    def _row_count(self, made: FormField) -> int:
        text = next(iter(self.typed.get(made.rows_name, [])), "")
        if text.isascii() and text.isdecimal():
            return min(int(text[:4]), MAX_ROWS)
        least = _least(made.schema)
        return min(max(least, 1 if made.is_required and not made.has_none_box else least), MAX_ROWS)

    def _resolved(self, schema: Any) -> Any:
        """Follow references to definitions of the same schema. Another reference is entered as JSON."""
        for _ in range(MAX_DEPTH):
            ref = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(ref, str) or not ref.startswith("#/"):
                return schema
            found: Any = self.root
            for part in ref[2:].split("/"):
                found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
            # What is written beside the reference describes this use.
            schema = (
                {**found, **{name: value for name, value in schema.items() if name != "$ref"}}
                if (isinstance(found, dict))
                else {}
            )
        return {}


def build_fields(schema: Any, typed: Typed) -> FormField | None:
    """Return the root field of a form. Return None if the whole response must be entered as JSON."""
    try:
        root = Builder(schema, typed).build("", schema, "", is_required=True, depth=0)
    except _TooManyFields:
        return None
    return root if root.kind == "object" and root.children else None


def escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def help_text(schema: dict[str, Any]) -> str:
    """Return the author's description of a value, and the limits that a person must know."""
    parts = [schema["description"]] if isinstance(schema.get("description"), str) else []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        parts.append(f"From {low} to {high}.")
    elif low is not None:
        parts.append(f"At least {low}.")
    elif high is not None:
        parts.append(f"At most {high}.")
    kind = {"date": "Date, year-month-day.", "date-time": "Date and time in UTC."}.get(str(schema.get("format")))
    parts += [kind] if kind else []
    if isinstance(schema.get("maxLength"), int):
        parts.append(f"At most {schema['maxLength']} characters.")
    if "default" in schema:
        parts.append(
            f"The author suggests {write_json(schema['default'], ensure_ascii=False)}. It is not sent by itself."
        )
    return " ".join(parts)


def _kind(schema: dict[str, Any], depth: int) -> str:
    if depth > MAX_DEPTH:
        return "json"
    if _options(schema) is not None:
        return "choice"
    kind = schema.get("type", "object" if "properties" in schema else None)
    if kind == "string":
        return _kind_of_text(schema)
    if kind in ("number", "integer"):
        return "number"
    if kind == "object" and _is_object(schema):
        return "object"
    items = schema.get("items")
    if kind == "array" and isinstance(items, dict) and "prefixItems" not in schema:
        return "checks" if schema.get("uniqueItems") and _options(items) is not None else "list"
    return "json"


def _kind_of_text(schema: dict[str, Any]) -> str:
    if schema.get("format") in ("date", "date-time"):
        return str(schema["format"]).replace("-", "")
    length = schema.get("maxLength")
    return "long" if isinstance(length, int) and length > LONG_TEXT else "text"


def _is_object(schema: dict[str, Any]) -> bool:
    properties, required = schema.get("properties"), schema.get("required", [])
    return isinstance(properties, dict) and all(name in properties for name in required)


def _without_null(schema: Any) -> tuple[Any, bool]:
    """Return the schema without the type null, and True if null was allowed."""
    if not isinstance(schema, dict) or not isinstance(schema.get("type"), list):
        return schema, False
    kinds = [kind for kind in schema["type"] if kind != "null"]
    if len(kinds) != 1:
        return {name: value for name, value in schema.items() if name != "type"}, False
    return {**schema, "type": kinds[0]}, len(kinds) < len(schema["type"])


def _options(schema: Any) -> list[Option] | None:
    """Return the values that can be chosen. Return None if the schema does not list the allowed values."""
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return [_option(schema["const"])]
    if isinstance(schema.get("enum"), list):
        return [_option(value) for value in schema["enum"]]
    branches = schema.get("oneOf", schema.get("anyOf"))
    if isinstance(branches, list) and all(isinstance(each, dict) and "const" in each for each in branches):
        return [_option(each["const"], each.get("title"), each.get("description")) for each in branches]
    if schema.get("type") == "boolean":
        return [_option(True), _option(False)]
    return None


def _option(value: Any, title: Any = None, note: Any = None) -> Option:
    words = {True: "Yes", False: "No"}
    shown = words[value] if isinstance(value, bool) else value if isinstance(value, str) else write_json(value)
    label = title if isinstance(title, str) and title else shown
    return Option(write_json(value, ensure_ascii=False), label, note if isinstance(note, str) else "")


def _least(schema: dict[str, Any]) -> int:
    least = schema.get("minItems")
    return least if isinstance(least, int) and least > 0 else 0


def _label(schema: dict[str, Any], key: str) -> str:
    title = schema.get("title")
    return title if isinstance(title, str) and title else words_of(key)
