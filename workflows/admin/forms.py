"""Forms of the portal's own pages."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from workflows.engine.storable import storable_problem
from workflows.strict_json import read_json


class JsonObjectField(forms.CharField):
    """A JSON object as text; keys keep their order."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            widget=UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false", "class": "pm-code"}), **options
        )

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            document = read_json(text)
        except RecursionError as error:
            raise forms.ValidationError("This nests too deep.") from error
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise forms.ValidationError("This must be a JSON object: {...}")
        problem = storable_problem(document)
        if problem is not None:
            raise forms.ValidationError(f"{problem[0] or 'the object'} {problem[1]}")
        return document


class ReasonForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Kept in the command ledger, for whoever asks later.",
    )


class NeededReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Needed. Kept in the command ledger and in Temporal, for whoever asks later.",
    )


class ReplayForm(ReasonForm):
    payload = JsonObjectField(help_text="The input of the new run; as it stands, it is the input of the old one.")
    field_order = ("payload", "reason")


class TaskResponseForm(ReasonForm):
    response = JsonObjectField(help_text="Must fit the task's form.")
    field_order = ("response", "reason")


class StartRunForm(ReasonForm):
    version = forms.IntegerField(
        required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget(), help_text="Empty: the published version."
    )
    payload = JsonObjectField(initial="{}", help_text="What the run's expressions see as `payload`.")
    field_order = ("payload", "version", "reason")


class SendEventForm(forms.Form):
    event_type = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"list": "event-types"}))
    payload = JsonObjectField(initial="{}")
    workflow_correlation_key = forms.CharField(
        required=False,
        max_length=1000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Empty: the key is looked for in the payload, by the event catalogue.",
    )
    event_id = forms.CharField(
        required=False, max_length=200, widget=UnfoldAdminTextInputWidget(), help_text="Empty: a new one is made."
    )
