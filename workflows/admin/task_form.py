"""Form of a human task. Its fields are made from the properties of the task's JSON Schema.

The response has only values that the person entered. No field has a value at the start, and empty fields are left out
of the response. All problems are shown at once. If a schema has no properties, the person enters the response as JSON
text.

Source: docs/reference/engine.md#human-tasks, docs/reference/screens.md#all-screens
"""

from collections.abc import Callable
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from workflows.engine.json_schema.forms import form_problems
from workflows.engine.storable import storable_problem
from workflows.json_numbers import write_json
from workflows.strict_json import read_json

PREFIX = "response."
NOT_CHOSEN = ("", "Choose…")
LONG_TEXT = 200


class ResponseField(forms.CharField):
    """Field for one property. `read` converts the text to the value.

    An empty text means that the person entered nothing.
    """

    def __init__(self, read: Callable[[str], Any], **options: Any) -> None:
        super().__init__(strip=False, **options)
        self.read = read

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        return None if text == "" else (self.read(text),)  # in a tuple, because the value itself can be null


class TaskForm(forms.Form):
    """Form of one task. Call `task_response()` only if the form is valid. It returns the response."""

    use_required_attribute = False  # the browser would show one problem at a time
    reason = forms.CharField(
        required=False, max_length=2000, widget=UnfoldAdminTextInputWidget(), help_text="Stored in the command ledger."
    )

    def __init__(self, schema: Any, data: Any = None, *, is_json: bool = False) -> None:
        super().__init__(data)
        self.schema = schema
        self.properties = {} if is_json else properties_of(schema)
        reason = self.fields.pop("reason")
        required = schema.get("required", []) if self.properties else []
        for name, field in self.properties.items():
            self.fields[f"{PREFIX}{name}"] = _field(name, field, is_required=name in required)
        if not self.properties:
            self.fields["response"] = _json_field(is_required=schema is not None)
        self.fields["reason"] = reason

    def task_response(self) -> Any:
        if not self.properties:
            chosen = self.cleaned_data["response"]
            return {} if chosen is None else chosen[0]
        chosen_values = {name: self.cleaned_data.get(f"{PREFIX}{name}") for name in self.properties}
        return {name: chosen[0] for name, chosen in chosen_values.items() if chosen is not None}

    def clean(self) -> dict[str, Any]:
        """Check the response with the whole schema. So all problems are shown at once."""
        fields = super().clean() or {}
        unread = {name for name in self.errors if name.startswith(PREFIX) or name == "response"}
        if "response" in unread:
            return fields
        response = self.task_response()
        unstorable = storable_problem(response)
        problems = [] if unstorable is None else [(unstorable[0], unstorable[1])]
        problems += [(problem["pointer"], problem["message"]) for problem in form_problems(self.schema, response)]
        for pointer, message in problems:
            name = f"{PREFIX}{_first_part(pointer)}"
            if name in self.fields:
                self.add_error(name, f"This value {message}." if name not in unread else message)
            elif not unread:
                self.add_error(None, f"{pointer or 'The response'} {message}")
        return fields


def properties_of(schema: Any) -> dict[str, Any]:
    """Return the properties of an object schema in the author's order.

    If there is no such schema, the response is entered as JSON.
    """
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return {}
    properties = schema.get("properties")
    required = schema.get("required", [])
    if not isinstance(properties, dict) or any(name not in properties for name in required):
        return {}
    return properties


def _first_part(pointer: str) -> str:
    return pointer[1:].split("/", 1)[0].replace("~1", "/").replace("~0", "~")


def _field(name: str, schema: Any, *, is_required: bool) -> forms.Field:
    described = schema if isinstance(schema, dict) else {}
    title = described.get("title")
    options: dict[str, Any] = {
        "label": title if isinstance(title, str) and title else name,
        "required": is_required,
        "help_text": _help(described),
    }
    choices = _choices(described)
    if choices is not None:
        widget: forms.Widget = UnfoldAdminSelectWidget(choices=[NOT_CHOSEN, *choices])
        return ResponseField(_choice_reader([text for text, _ in choices]), widget=widget, **options)
    if described.get("type") == "string":
        length = described.get("maxLength")
        is_long = isinstance(length, int) and length > LONG_TEXT
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 4}) if is_long else UnfoldAdminTextInputWidget()
        return ResponseField(str, widget=widget, **options)
    if described.get("type") in ("number", "integer"):
        widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"})
        return ResponseField(_read_number, widget=widget, **options)
    return ResponseField(_read_json, widget=_json_widget(4), **options)


def _json_field(*, is_required: bool) -> forms.Field:
    note = "JSON that matches the form of the task." if is_required else "JSON. An empty field sends {}."
    return ResponseField(_read_json, widget=_json_widget(12), required=is_required, help_text=note)


def _json_widget(rows: int) -> forms.Widget:
    return UnfoldAdminTextareaWidget(attrs={"rows": rows, "spellcheck": "false", "class": "pm-code"})


def _choices(schema: dict[str, Any]) -> list[tuple[str, str]] | None:
    """Return the choices of a property as pairs of JSON text and label.

    Return None if the schema does not list the allowed values.
    """
    if "const" in schema:
        values = [schema["const"]]
    elif isinstance(schema.get("enum"), list):
        values = schema["enum"]
    elif schema.get("type") == "boolean":
        return [("true", "Yes"), ("false", "No")]
    else:
        return None
    labels = {True: "Yes", False: "No"}
    return [
        (_json(value), labels[value] if isinstance(value, bool) else value if isinstance(value, str) else _json(value))
        for value in values
    ]


def _choice_reader(choices: list[str]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in choices:
            raise forms.ValidationError("Choose one of the listed values.")
        return read_json(text)

    return read


def _read_number(text: str) -> Any:
    try:
        value = read_json(text.strip())
    except (RecursionError, ValueError):
        value = None
    if value is None or isinstance(value, bool | str | list | dict):
        raise forms.ValidationError("This must be a number, for example 12 or 12.5.")
    return value


def _read_json(text: str) -> Any:
    try:
        return read_json(text)
    except RecursionError as error:
        raise forms.ValidationError("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise forms.ValidationError(f"This is not valid JSON: {error}") from error


def _json(value: Any) -> str:
    return write_json(value, ensure_ascii=False)


def _help(schema: dict[str, Any]) -> str:
    """Return the help text of a property: the author's description, and the limits that a person must know."""
    parts = [schema["description"]] if isinstance(schema.get("description"), str) else []
    names = {
        "format": "Format",
        "minimum": "At least",
        "maximum": "At most",
        "maxLength": "Longest text",
        "default": "Default of the author, not sent unless you choose it",
    }
    parts += [f"{label}: {schema[name]}." for name, label in names.items() if name in schema]
    return " ".join(parts)
