"""Forms of the pages about definitions."""

import json
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from workflows.admin.forms import JsonField, JsonObjectField
from workflows.engine.storable import MAX_DEFINITION_DEPTH
from workflows.models import Definition
from workflows.services.definitions.changes import MAX_REASON_LENGTH
from workflows.services.definitions.drafts import Origin
from workflows.services.definitions.examples import examples
from workflows.services.definitions.settings import SETTINGS
from workflows.statuses import HeldChoice


class DefinitionField(JsonObjectField):
    """Field for a definition. Its text may nest deeper than a payload."""

    max_depth = MAX_DEFINITION_DEPTH


class DefinitionReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stored in the command ledger.",
    )


class ResumeForm(DefinitionReasonForm):
    """Form for a resume. No choice is selected in advance. Without held starts, there is nothing to choose."""

    held = forms.ChoiceField(
        label="Held starts", choices=HeldChoice.choices, widget=UnfoldAdminRadioSelectWidget(), required=True
    )
    field_order = ("held", "reason")

    def __init__(self, data: Any, *, held: int) -> None:
        super().__init__(data)
        if not held:
            del self.fields["held"]


class PublishForm(forms.Form):
    note = forms.CharField(
        max_length=MAX_REASON_LENGTH,
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text="What changes with this version, for the other authors. It is shown in the list of versions.",
    )
    draft_version = forms.IntegerField(widget=forms.HiddenInput)


class DraftForm(forms.Form):
    draft_version = forms.IntegerField(widget=forms.HiddenInput)
    document = DefinitionField(label="Definition", help_text="JSON. Keys are sorted when the draft is saved.")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["document"].widget.attrs["rows"] = 34


class SettingsForm(forms.Form):
    owner = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget())
    contact = forms.CharField(
        max_length=200, required=False, widget=UnfoldAdminTextInputWidget(), help_text="For example a chat channel."
    )
    runbook_url = forms.CharField(
        label="Runbook", max_length=500, required=False, widget=UnfoldAdminTextInputWidget(),
        help_text="Link to the instructions for a failure. Failed runs and notifications show it.",
    )  # fmt: skip
    concurrency_limit = forms.IntegerField(
        required=False, widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Largest number of open runs. Event starts above it are held. Leave it empty for no limit.",
    )  # fmt: skip
    concurrency = JsonObjectField(
        label="Concurrency key", required=False,
        help_text='At most one open run for each key, for example {"key": {"$expr": "payload.customerId"}, '
        '"onConflict": "skip"}. Other values of onConflict are queue and cancelOldest. Leave it empty for no limit.',
    )  # fmt: skip
    search_paths = JsonField(
        label="Business data", required=False,
        help_text='Values that the run list shows, filters and sorts, for example [{"path": "amount", "type": "money", '
        '"currency": "EUR", "label": "Amount"}]. Other types are text, number, boolean and date. A path leads into the '
        "payload, or to a variable at the end of the run (vars.total). They apply to runs that start later.",
    )  # fmt: skip
    auto_pause_on_failure = forms.BooleanField(
        label="Pause when too many runs fail", required=False, widget=UnfoldBooleanWidget()
    )
    failure_rate_threshold = forms.FloatField(
        required=False, widget=UnfoldAdminTextInputWidget(),
        help_text="Share of failed runs, above 0 and at most 1. Leave it empty for 0.5.",
    )  # fmt: skip
    failure_rate_min_runs = forms.IntegerField(
        required=False, widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Number of closed runs before the share counts. Leave it empty for 10.",
    )  # fmt: skip
    reason = forms.CharField(
        max_length=MAX_REASON_LENGTH, required=False, widget=UnfoldAdminTextInputWidget(),
        help_text="Stored in the command ledger.",
    )  # fmt: skip

    def changes(self, definition: Definition) -> dict[str, Any]:
        """Return the settings that differ from those of the definition."""
        return {name: value for name in SETTINGS if (value := self.cleaned_data[name]) != getattr(definition, name)}


class CreateForm(forms.Form):
    """Form for a blank definition. The subclasses add the fields of another origin."""

    key = forms.CharField(
        max_length=200, widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
        help_text="Small letters, digits, dots, dashes and underscores, for example ticket-escalation. Events, the API "
        "and other definitions use the key. It cannot be changed.",
    )  # fmt: skip
    name = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget())

    def origin(self) -> Origin:
        fields = {name: self.cleaned_data[name] for name in self.cleaned_data if name not in ("key", "name")}
        return Origin(**fields)


class ExampleForm(CreateForm):
    example = forms.ChoiceField(widget=UnfoldAdminRadioSelectWidget())

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        choices = [(example.name, f"{example.title}: {example.description}") for example in examples()]
        self.fields["example"].choices = choices  # type: ignore[attr-defined]


class CopyForm(CreateForm):
    copy_of = forms.CharField(
        label="Copy of", max_length=200, widget=UnfoldAdminTextInputWidget(), help_text="Its key."
    )
    copy_version = forms.IntegerField(
        label="Version", required=False, min_value=1, widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Leave it empty to copy the draft.",
    )  # fmt: skip


class BundleForm(CreateForm):
    bundle = DefinitionField(help_text="The text of the bundle. The draft is made from one of its workflows.")
    bundle_key = forms.CharField(
        label="Workflow of the bundle", max_length=200, required=False, widget=UnfoldAdminTextInputWidget(),
        help_text="Key of the workflow. Required if the bundle has several workflows.",
    )  # fmt: skip


CREATE_FORMS: dict[str, type[CreateForm]] = {
    "blank": CreateForm, "example": ExampleForm, "copy": CopyForm, "bundle": BundleForm,
}  # fmt: skip


def draft_as_text(definition: Definition) -> str:
    """Return the draft as it is stored, or an empty object."""
    return definition.draft_text or json.dumps({}, indent=2)
