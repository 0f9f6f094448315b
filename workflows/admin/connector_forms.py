"""Forms of HTTP connectors."""

import json
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from workflows.actions.connector_spec import ConnectorSpec
from workflows.admin.forms import JsonField
from workflows.models import Connector

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_DEFAULTS = ConnectorSpec(label="-", url="https://example.org").model_dump(mode="json")


class SpecField(JsonField):
    """Field for a part of a connector that is JSON. The initial value is the default of the part."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(initial=_DEFAULTS[name], required=False, **options)
        self.widget.attrs["rows"] = 4
        self._default = _DEFAULTS[name]

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def clean(self, value: Any) -> Any:
        return super().clean(value) if str(value or "").strip() else self._default


class ConnectorForm(forms.Form):
    action_id = forms.CharField(
        label="Action id",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
        help_text="Definitions call the connector by this id, for example crm.create_contact. It cannot be changed.",
    )
    version = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Leave empty for the next version.",
    )
    label = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget())
    category = forms.CharField(max_length=100, initial=_DEFAULTS["category"], widget=UnfoldAdminTextInputWidget())
    description = forms.CharField(max_length=2000, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))
    method = forms.ChoiceField(
        choices=[(name, name) for name in METHODS], initial="POST", widget=UnfoldAdminSelectWidget()
    )
    url = forms.CharField(
        label="URL",
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
        help_text="It can have places for values of the input, for example https://crm.example/contacts/{contact.id}."
        " The host cannot have places.",
    )
    query = SpecField(
        "query",
        help_text='Parameters of the URL, for example {"limit": {"$input": "limit"}}. Missing values are left out.',
    )
    headers = SpecField(
        "headers",
        help_text='For example {"Authorization": {"$secret": "CRM_TOKEN"}, "X-Source": "{source}"}. Write'
        " credentials as secrets only.",
    )
    body = SpecField(
        "body", help_text='JSON with places, {"$input": ""} for the whole input, or null for a request without a body.'
    )
    body_format = forms.ChoiceField(
        choices=[("json", "JSON"), ("form", "form (application/x-www-form-urlencoded)")],
        initial="json",
        widget=UnfoldAdminSelectWidget(),
    )
    input_schema = SpecField("input_schema", help_text="JSON Schema 2020-12 of the input.")
    output = SpecField(
        "output",
        help_text="JSON with places of the response {status, headers, body}, for example"
        ' {"id": {"$response": "body.id"}}.',
    )
    output_schema = SpecField("output_schema", help_text="JSON Schema 2020-12 of the output.")
    success = SpecField(
        "success", label="Success rule", help_text="Statuses of a success, and filters on {status, headers, body}."
    )
    retry = SpecField(
        "retry",
        label="Retry rule",
        help_text="Statuses of a failure that a repetition can repair (TransientError), and the recommended policy.",
    )
    idempotency_header = forms.CharField(
        required=False,
        max_length=200,
        initial=_DEFAULTS["idempotency_header"],
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
        help_text="Header that carries the idempotency key. Leave empty to send no key.",
    )
    is_idempotent = forms.BooleanField(
        label="The target executes a repeated request with the same key only once",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="If yes, a request without a response is sent again. If no, an operator decides about its outcome.",
    )
    timeout_seconds = forms.FloatField(
        label="Timeout in seconds", initial=_DEFAULTS["timeout_seconds"], widget=UnfoldAdminDecimalFieldWidget()
    )
    examples = SpecField("examples", help_text="List of inputs. A test call proposes the first input of the list.")

    def __init__(self, data: Any, *, row: Connector | None, is_used: bool) -> None:
        initial = {} if row is None else row.spec
        super().__init__(data, initial=initial)
        if row is None:
            return
        del self.fields["action_id"], self.fields["version"]
        change = [] if is_used else [("version", f"Change version {row.version}")]
        self.fields["save_as"] = forms.ChoiceField(
            choices=[*change, ("new", "Make a new version")], widget=UnfoldAdminRadioSelectWidget()
        )


def spec_of(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the spec of a connector from the fields of the form."""
    return {name: value for name, value in fields.items() if name in _DEFAULTS}


class TrialForm(forms.Form):
    input = JsonField(help_text="Input of the action.")
