"""Form of a human task: reads what was typed, checks it with the whole schema, and shows all problems at once.

The response has only values that the person entered. No field has a value at the start, and empty fields are left out
of the response. A schema that cannot be shown as fields is answered with JSON text.

Source: docs/reference/engine.md#human-tasks, docs/reference/screens.md#all-screens
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from workflows.admin.task_fields import NONE, ROOT, ROWS, FormField, Typed, build_fields
from workflows.engine.json_schema.forms import form_problems
from workflows.engine.json_schema.value_rules import quoted
from workflows.engine.storable import storable_problem
from workflows.strict_json import read_json

MISSING = object()
MAX_REASON = 2_000


class _Unreadable(Exception):
    """A typed text is no value of this kind. The message is for the person."""


class TaskForm:
    """Form of one task. Call `task_response()` only if the form is valid. It returns the response.

    `typed` has the lists of texts by name. None means that the form is shown for the first time.
    """

    def __init__(self, schema: Any, typed: Typed | None = None, *, is_json: bool = False) -> None:
        self.schema = schema
        self.typed: Typed = typed or {}
        self.root = None if is_json else build_fields(schema, self.typed)
        self.json = FormField("json", "", "", "Response as JSON", _json_help(schema), schema is not None, {})
        self.json.typed = list(self.typed.get(ROOT, []))
        self.reason = next(iter(self.typed.get("reason", [])), "")
        self.reason_errors: list[str] = []
        self.errors: list[str] = []
        self._response: Any = MISSING

    @property
    def fields(self) -> list[FormField]:
        return self.root.children if self.root else [self.json]

    def is_valid(self) -> bool:
        """Read and check the form. Afterwards the fields have their errors."""
        top = self.root or self.json
        value = _read(top)
        if self.root is None and value is MISSING and not self.json.errors:
            value = {} if self.schema is None else MISSING
        if len(self.reason) > MAX_REASON:
            self.reason_errors.append(f"The reason has more than {MAX_REASON} characters. Write a shorter text.")
        _require(top, value)
        if value is not MISSING:
            self._check(top, value)
        self._response = value
        return not self.problems and not self.errors

    @property
    def problems(self) -> list[FormField]:
        """Return the fields with errors, in the order of the page."""
        return [each for each in (self.root or self.json).all() if each.errors]

    def task_response(self) -> Any:
        return self._response

    def add_error(self, message: str) -> None:
        self.errors.append(message)

    def _check(self, top: FormField, value: Any) -> None:
        unstorable = storable_problem(value)
        problems = [] if unstorable is None else [(unstorable[0], unstorable[1])]
        problems += [(problem["pointer"], problem["message"]) for problem in form_problems(self.schema, value)]
        for pointer, message in problems:
            self._show(top, pointer, message)

    def _show(self, top: FormField, pointer: str, message: str) -> None:
        """Show a problem beside the field of its pointer, or above the form if there is no such field."""
        found, rest = _field_at(top, pointer)
        for child in found.children:
            if found.kind == "object" and message.startswith(f"{quoted(child.key)} is missing"):
                if not child.errors:
                    _add(child, _missing_text(child))
                return
        if rest or found is self.json:
            found.errors.append(f"{pointer or 'The response'} {message}.")
        elif found is self.root:
            self.errors.append(f"The response {message}.")
        else:
            _add(found, f"This value {message}.")


def without_row(typed: Typed, name: str) -> dict[str, list[str]]:
    """Return what was typed without one row of a list. `name` is the name of the row. Later rows move up."""
    parent, _, text = name.rpartition("/")
    if not (text.isascii() and text.isdecimal()):
        return dict(typed)
    index = int(text[:6])
    changed: dict[str, list[str]] = {}
    for key, values in typed.items():
        match = re.match(r"(\d{1,6})(?=[/#]|$)", key[len(parent) + 1 :]) if key.startswith(f"{parent}/") else None
        row = int(match.group()) if match else -1
        if row == index:
            continue
        rest = key[len(parent) + 1 + (len(match.group()) if match else 0) :]
        changed[f"{parent}/{row - 1}{rest}" if row > index else key] = values
    return _with_rows(changed, parent, -1)


def with_row(typed: Typed, name: str) -> dict[str, list[str]]:
    """Return what was typed with one more row. `name` is the name of the list."""
    return _with_rows(dict(typed), name, +1)


def _with_rows(typed: dict[str, list[str]], name: str, more: int) -> dict[str, list[str]]:
    text = next(iter(typed.get(f"{name}{ROWS}", [])), "")
    number = int(text[:4]) if text.isascii() and text.isdecimal() else 0
    return {**typed, f"{name}{ROWS}": [str(max(0, number + more))]}


# -- Reading -----------------------------------------------------------------------------------------------------------


def _read(field: FormField) -> Any:
    """Return the value of a field, or MISSING if nothing was entered or the text cannot be read."""
    if field.has_none_box and field.is_none:
        return [] if field.kind in ("list", "checks") else None
    if field.kind == "object":
        values = {child.key: _read(child) for child in field.children}
        given = {key: value for key, value in values.items() if value is not MISSING}
        is_touched = any(below.errors for below in field.all())
        return given if given or is_touched or (field.is_required and not field.is_in_row) else MISSING
    if field.kind == "list":
        rows = [(row, _read(row)) for row in field.children]
        field.included = [row for row, value in rows if value is not MISSING]
        return [value for _, value in rows if value is not MISSING] or MISSING
    if field.kind == "checks":
        return _read_texts(field, field.typed) or MISSING
    if field.text == "":
        return MISSING
    found = _read_texts(field, field.typed[:1])
    return found[0] if found else MISSING


def _read_texts(field: FormField, texts: list[str]) -> list[Any]:
    values = []
    for text in texts:
        try:
            values.append(READERS[field.kind](field, text))
        except _Unreadable as error:
            _add(field, str(error))
    return values


def _read_choice(field: FormField, text: str) -> Any:
    if text not in [option.value for option in field.options]:
        raise _Unreadable("Choose one of the listed values.")
    return read_json(text)


def _read_text(field: FormField, text: str) -> Any:
    return text.replace("\r\n", "\n")


def _read_date(field: FormField, text: str) -> Any:
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip(), re.ASCII):
            return date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        pass
    raise _Unreadable("Enter a date as year-month-day, for example 2026-11-30.")


def _read_datetime(field: FormField, text: str) -> Any:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise _Unreadable("Enter a date and a time, for example 2026-11-30T14:30.") from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return moment.isoformat().replace("+00:00", "Z")


def _read_number(field: FormField, text: str) -> Any:
    try:
        value = read_json(text.strip())
    except (RecursionError, ValueError):
        value = None
    if value is None or isinstance(value, bool | str | list | dict):
        raise _Unreadable("This must be a number, for example 12 or 12.5.")
    return value


def _read_json(field: FormField, text: str) -> Any:
    try:
        return read_json(text)
    except RecursionError as error:
        raise _Unreadable("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise _Unreadable(f"This is not valid JSON: {error}") from error


READERS: dict[str, Callable[[FormField, str], Any]] = {
    "choice": _read_choice,
    "checks": _read_choice,
    "text": _read_text,
    "long": _read_text,
    "date": _read_date,
    "datetime": _read_datetime,
    "number": _read_number,
    "json": _read_json,
}


# -- Problems ----------------------------------------------------------------------------------------------------------


def _require(field: FormField, value: Any) -> None:
    """Add a problem to each required field without a value. Optional parts that are empty require nothing."""
    if value is MISSING:
        if field.is_required and not field.is_in_row and not field.errors:
            _add(field, _missing_text(field))
        return
    if field.kind == "object" and isinstance(value, dict):
        for child in field.children:
            _require(child, value.get(child.key, MISSING))
    elif field.kind == "list":
        for row, item in zip(field.included, value, strict=False):
            _require(row, item)


def _missing_text(field: FormField) -> str:
    if field.kind == "choice" and len(field.options) > 1:
        return f"Choose one of the {len(field.options)} values."
    if field.kind in ("list", "checks"):
        return "Add at least one entry." if field.kind == "list" else "Choose at least one value."
    return "This field is required."


def _add(field: FormField, message: str) -> None:
    """Add an error. A field shows one error of the reader, or all errors of the schema, but no error twice."""
    if message not in field.errors:
        field.errors.append(message)


def _field_at(top: FormField, pointer: str) -> tuple[FormField, str]:
    """Return the deepest field of a pointer, and the part of the pointer below this field."""
    found, parts = top, pointer.split("/")[1:]
    while parts:
        key = parts[0].replace("~1", "/").replace("~0", "~")
        below = None
        if found.kind == "object":
            below = next((child for child in found.children if child.key == key), None)
        elif found.kind == "list" and key.isdecimal() and int(key) < len(found.included):
            below = found.included[int(key)]
        if below is None:
            break
        found, parts = below, parts[1:]
    return found, "".join(f"/{part}" for part in parts)


def _json_help(schema: Any) -> str:
    return "JSON that matches the form of the task." if schema is not None else "JSON. An empty field sends {}."


def is_form_name(name: str) -> bool:
    """Return True if an HTML field belongs to the response or to its reason."""
    base = name.removesuffix(ROWS).removesuffix(NONE)
    return base in (ROOT, "reason") or base.startswith(f"{ROOT}/")
