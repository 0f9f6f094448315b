"""Forms of the changes of an incident."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from workflows.actors import person_name
from workflows.admin.forms import ReasonForm
from workflows.models import Incident, TenantMembership
from workflows.selectors.incident_page import merge_targets
from workflows.services.incidents import change, combine
from workflows.templatetags.times import zone_name


class IncidentForm(ReasonForm):
    """Form of one change. A subclass reads the incident in `prepare`, for example for its choices."""

    def __init__(self, data: Any, incident: Incident) -> None:
        super().__init__(data)
        self.prepare(incident)

    def prepare(self, incident: Incident) -> None:
        """Set choices and help texts."""


class OwnerForm(forms.Form):
    username = forms.ChoiceField(
        label="Owner", required=False, widget=UnfoldAdminSelectWidget(), help_text="A member of the tenant."
    )

    def __init__(self, data: Any, incident: Incident) -> None:
        super().__init__(data)
        members = TenantMembership.objects.select_related("user").filter(tenant_id=incident.tenant_id)
        users = [member.user for member in members.order_by("user__username")[:1_000]]
        names = [(user.get_username(), person_name(user)) for user in users]
        self.fields["username"].choices = [("", "No owner"), *names]  # type: ignore[attr-defined]


class SnoozeForm(IncidentForm):
    until = forms.SplitDateTimeField(required=False, widget=UnfoldAdminSplitDateTimeWidget())
    failures = forms.IntegerField(
        required=False,
        min_value=1,
        label="Or until so many more runs have failed",
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="The first of both ends the snooze.",
    )
    field_order = ("until", "failures", "reason")

    def prepare(self, incident: Incident) -> None:
        self.fields["until"].help_text = f"Date and time in {zone_name()}."


class ResolveForm(IncidentForm):
    version = forms.IntegerField(min_value=1, widget=UnfoldAdminIntegerFieldWidget())
    field_order = ("version", "reason")

    def prepare(self, incident: Incident) -> None:
        newest = change.newest_version(incident)
        failed = f"It failed on version {incident.last_version}, so no older version. " if incident.last_version else ""
        self.fields["version"].help_text = (
            f"{failed}The newest version is {newest}. Give {newest + 1} if the next version will resolve it. The "
            "incident regresses only if a run on this version or a newer one fails later."
        )


class NoteForm(forms.Form):
    text = forms.CharField(
        label="Note", max_length=change.MAX_NOTE_LENGTH, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4})
    )

    def __init__(self, data: Any, incident: Incident) -> None:
        super().__init__(data)


class MergeForm(IncidentForm):
    into = forms.TypedChoiceField(coerce=int, label="Into", widget=UnfoldAdminSelectWidget())
    field_order = ("into", "reason")

    def prepare(self, incident: Incident) -> None:
        targets = merge_targets(tenant_id=incident.tenant_id, incident=incident)
        choices = [(target.number, f"{target}: {target.code}, {target.message[:80]}") for target in targets]
        self.fields["into"].choices = [("", "Choose an incident"), *choices]  # type: ignore[attr-defined]


class SplitForm(IncidentForm):
    text = forms.CharField(
        label="Text in the message",
        max_length=combine.MAX_TEXT,
        widget=UnfoldAdminTextInputWidget(),
        help_text="A part of the message as the run shows it, with capitals and small letters.",
    )
    field_order = ("text", "reason")


@dataclass(frozen=True)
class IncidentStep:
    """Change of an incident on its page.

    `done` says what was done. Its placeholders are `incident` and the fields of the form.
    """

    title: str
    note: str
    button: str
    form: Callable[[Any, Incident], forms.Form]
    service: Callable[..., Any]
    done: str


STEPS: dict[str, IncidentStep] = {
    "own": IncidentStep(
        "Who works on", "A new or regressed incident becomes open. The other members see the name.", "Save the owner",
        OwnerForm, change.incident_own, "The owner of {incident} is saved.",
    ),
    "snooze": IncidentStep(
        "Snooze", "The incident is quiet until then. Its failures still count. No run changes.", "Snooze",
        SnoozeForm, change.incident_snooze, "{incident} is snoozed.",
    ),
    "resolve": IncidentStep(
        "Resolved in which version:", "Failures of older versions do not open the incident again. No run changes.",
        "Mark as resolved", ResolveForm, change.incident_resolve, "{incident} is resolved in version {version}.",
    ),
    "reopen": IncidentStep(
        "Reopen", "The incident needs attention again. No run changes.",
        "Reopen the incident", IncidentForm, change.incident_reopen, "{incident} is reopened.",
    ),
    "close": IncidentStep(
        "Close", "The incident leaves the list. A later failure opens it again. No run changes.",
        "Close the incident", IncidentForm, change.incident_close, "{incident} is closed.",
    ),
    "note": IncidentStep("Write a note about", "Every member sees the note.", "Save the note", NoteForm,
        change.incident_note, "The note about {incident} is saved.",
    ),
    "merge": IncidentStep(
        "Merge", "The other incident shows and counts these failures, and later ones of this cause. A merge can be "
        "undone: separate the two.", "Merge the incidents", MergeForm, combine.incident_merge,
        "The failures now belong to {incident}.",
    ),
    "separate": IncidentStep(
        "Separate", "The incident takes its own failures, and later ones of its cause, out of the other incident.",
        "Separate the incident", IncidentForm, combine.incident_separate, "{incident} has its own failures again.",
    ),
    "split": IncidentStep(
        "Split", "Failures whose message contains the text get an incident of their own, also later ones. Of the "
        "failures so far, the newest 10,000 are moved.", "Split the incident", SplitForm, combine.incident_split,
        "{incident} has the failures with this text.",
    ),
}  # fmt: skip
