"""Forms of the admin pages."""

import json
import uuid
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from unfold.forms import ActionForm
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from workflows.engine.storable import MAX_DEPTH, storable_problem
from workflows.models import TenantMembership
from workflows.models.fields import new_id
from workflows.statuses import BulkOutcome, ReplayVersion, Role
from workflows.strict_json import JsonRefused, read_json


def start_of_day(day: date | None) -> datetime | None:
    """Return the beginning of a day in UTC, None without a day."""
    return None if day is None else datetime.combine(day, time.min, UTC)


def end_of_day(day: date | None) -> datetime | None:
    """Return the end of a day in UTC. None without a day, and for the last day of the calendar."""
    return None if day is None or day == date.max else start_of_day(day + timedelta(days=1))


class JsonField(forms.CharField):
    """Field for a JSON value that is written as text. Keys keep their order."""

    max_depth = MAX_DEPTH

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 12, "spellcheck": "false", "class": "pm-code"})
        super().__init__(**{"widget": widget, **options})

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return None
        try:
            document = read_json(text)
        except RecursionError as error:
            raise forms.ValidationError("The JSON is nested too deeply.") from error
        except JsonRefused as error:
            raise forms.ValidationError(f"{error.pointer or 'The value'} {error.problem}") from error
        except ValueError as error:
            raise forms.ValidationError(f"This is not valid JSON: {error}") from error
        self.check(document)
        problem = storable_problem(document, max_depth=self.max_depth)
        if problem is not None:
            raise forms.ValidationError(f"{problem[0] or 'The value'} {problem[1]}")
        return document

    def prepare_value(self, value: Any) -> Any:
        """Return a stored value as JSON text. Text that a person typed is shown unchanged."""
        return value if value is None or isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def check(self, document: Any) -> None:
        """Check the kind of the value. Errors: ValidationError."""


class JsonObjectField(JsonField):
    """Field for a JSON object that is written as text."""

    def check(self, document: Any) -> None:
        if not isinstance(document, dict):
            raise forms.ValidationError("This must be a JSON object, for example {}.")


class ReasonForm(forms.Form):
    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stored in the command ledger.",
    )


class BulkStartForm(ReasonForm):
    accept_repeats = forms.BooleanField(required=False)
    # The choice of a job in which only some runs repeat an effect. Without it, the start is refused.
    repeats = forms.ChoiceField(choices=[("accept", "accept"), ("leave_out", "leave out")], required=False)
    first_only = forms.BooleanField(required=False)
    first_run_id = forms.UUIDField(required=False)

    def options(self) -> dict[str, Any]:
        """Return the options of the start. The form must be valid."""
        options = dict(self.cleaned_data)
        repeats = options.pop("repeats")
        accepted = options["accept_repeats"] or repeats == "accept"
        return {**options, "accept_repeats": accepted, "leave_out_repeats": repeats == "leave_out"}


class BulkAgainForm(forms.Form):
    """Options of a new preview with the runs of an earlier replay job."""

    replay_version = forms.ChoiceField(choices=ReplayVersion.choices, required=False)
    allow_another_run = forms.BooleanField(required=False)
    outcome = forms.ChoiceField(choices=BulkOutcome.choices, required=False)


class RequiredReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Stored in the command ledger and in Temporal.",
    )


class AllRunsForm(forms.Form):
    all_runs = forms.BooleanField(label="All runs of the tenant, without a filter")


class ReplayForm(ReasonForm):
    on = forms.ChoiceField(choices=ReplayVersion.choices, required=False)
    payload = JsonObjectField(help_text="The input of the new run. The field contains the input of the old run.")
    allow_another_run = forms.BooleanField(required=False)
    accept_repeats = forms.BooleanField(required=False)

    def clean_on(self) -> str:
        return self.cleaned_data["on"] or str(ReplayVersion.PINNED)


class AssignForm(forms.Form):
    username = forms.ChoiceField(label="Member", widget=UnfoldAdminSelectWidget())

    def __init__(self, tenant_id: uuid.UUID, data: Any = None) -> None:
        super().__init__(data)
        members = TenantMembership.objects.filter(tenant_id=tenant_id).order_by("user__username")
        rows = members.values_list("user__username", "role")[:500]
        field = self.fields["username"]
        assert isinstance(field, forms.ChoiceField)
        notes = {Role.VIEWER: " (viewer, cannot complete tasks)"}
        field.choices = [("", "Choose…"), *((name, f"{name}{notes.get(Role(role), '')}") for name, role in rows)]


class StartRunForm(ReasonForm):
    version = forms.IntegerField(
        required=False,
        min_value=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Leave empty for the published version.",
    )
    payload = JsonObjectField(initial="{}", help_text="The input of the run. Expressions read it as `payload`.")
    field_order = ("payload", "version", "reason")


class KeyedActionForm(ActionForm):
    """Form with the actions of a list. It has an idempotency key."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["idempotency_key"] = forms.CharField(
            label="", required=False, widget=forms.HiddenInput, initial=new_id
        )
