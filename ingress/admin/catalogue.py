"""Screens of the event catalogue.

An entry has the correlation paths, identity, payload schema and buffer time of a type.
"""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from unfold.decorators import display
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from ingress.catalogue import (
    MAX_BUFFER_SECONDS,
    MAX_DESCRIPTION_LENGTH,
    EventTypeFields,
    effective_buffer_seconds,
    event_type_delete,
    event_type_save,
)
from workflows.actors import Actor
from workflows.admin.author_pages import AuthorPages
from workflows.models import EventType
from workflows.services.payload_check import known_schema_refs
from workflows.services.references import Referred
from workflows.services.uses import uses_of
from workflows.strict_json import read_json
from workflows.templatetags.pointsman import ago


class PathsField(forms.CharField):
    """Field for a list of paths, written as lines of text or as JSON. The service checks the items."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip()
        if not text.startswith(("[", "{", '"')):
            return [line.strip() for line in text.splitlines() if line.strip()]
        try:
            return read_json(text)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError("Write one dotted path per line.") from error


class EventTypeForm(forms.Form):
    name = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
        help_text="The type as senders write it, for example TICKET_CREATED. The entry * has the correlation paths of"
        " all events. The name cannot be changed.",
    )
    description = forms.CharField(
        max_length=MAX_DESCRIPTION_LENGTH, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )
    correlation_paths = PathsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false", "class": "pm-code"}),
        help_text="Dotted paths into the payload, one per line, for example ticket.id. They replace the paths of the"
        " environment.",
    )
    identity_paths = PathsField(
        label="Fields of the identity",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false", "class": "pm-code"}),
        help_text="Two bodies with one event id are the same event if these payload fields are equal. One dotted path"
        " per line. Leave empty to compare the whole payload.",
    )
    identity_excluded_paths = PathsField(
        label="Fields outside the identity",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "spellcheck": "false", "class": "pm-code"}),
        help_text="Payload fields that senders change on a retry, for example sentAt. One dotted path per line. They"
        " are not compared.",
    )
    payload_schema_ref = forms.ChoiceField(
        label="Payload schema",
        required=False,
        widget=UnfoldAdminSelectWidget(),
        help_text="An event whose payload does not match the schema is refused and stored with the outcome rejected.",
    )
    buffer_seconds = forms.FloatField(
        label="Buffer time in seconds",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
    )
    is_active = forms.BooleanField(
        label="Active",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget(),
        help_text="If this is off, the entry has no effect.",
    )

    def __init__(self, actor: Actor, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        self.tenant_id = actor.tenant_id
        refs = set(known_schema_refs(actor.tenant_id)) | {self.initial.get("payload_schema_ref", "")} - {""}
        choices = [("", "none"), *((ref, ref) for ref in sorted(refs))]
        self.fields["payload_schema_ref"].choices = choices  # type: ignore[attr-defined]
        self.fields["buffer_seconds"].help_text = (
            "The time for which an event can be found by a wait that opens later: above 0 s, at most"
            f" {MAX_BUFFER_SECONDS:,} s. Leave empty for the default of {settings.EVENT_BUFFER_SECONDS:g} s."
        )

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if EventType.objects.filter(tenant_id=self.tenant_id, name=name).exists():
            raise forms.ValidationError("This event type is already in the catalogue. Open its entry to change it.")
        return name


def identity_label(row: EventType) -> str:
    if row.identity_paths:
        return "only " + ", ".join(row.identity_paths)
    excluded = ", ".join(row.identity_excluded_paths or [])
    return f"the whole payload except {excluded}" if excluded else "the whole payload"


@admin.register(EventType)
class EventTypeAdmin(AuthorPages):
    page_template = "portal/event_type_page.html"
    change_list_template = "admin/workflows/eventtype/change_list.html"
    list_title = "Event catalogue"
    list_about = "How the portal finds the correlation keys of each event type, and checks its payloads"
    list_empty = "Without an entry, events of a type are accepted. Their keys come from the paths of the environment."
    list_display = ("name", "paths_label", "schema_label", "buffer_label", "state_label", "updated_label")
    search_fields = ("name",)
    ordering = ("name",)

    @display(description="Correlation paths")
    def paths_label(self, row: EventType) -> str:
        return ", ".join(row.correlation_paths or []) or "from the environment"

    @display(description="Payload schema", ordering="payload_schema_ref")
    def schema_label(self, row: EventType) -> str:
        return row.payload_schema_ref

    @display(description="Buffer time", ordering="buffer_seconds")
    def buffer_label(self, row: EventType) -> str:
        is_own = row.is_active and row.buffer_seconds is not None
        return f"{effective_buffer_seconds(row):g} s{'' if is_own else ' (default)'}"

    @display(description="State", label={"active": "success", "off": "warning"})
    def state_label(self, row: EventType) -> str:
        return "active" if row.is_active else "off"

    @display(description="Changed", ordering="updated_at")
    def updated_label(self, row: EventType) -> str:
        return ago(row.updated_at)

    def form_for(self, actor: Actor, row: EventType | None, data: Any) -> forms.Form:
        if row is None:
            return EventTypeForm(actor, data)
        initial = {name: getattr(row, name) for name in EventTypeFields.__dataclass_fields__}
        form = EventTypeForm(actor, data, initial=initial)
        del form.fields["name"]
        return form

    def save_row(
        self, actor: Actor, row: EventType | None, fields: dict[str, Any], key: str
    ) -> tuple[EventType, list[str]]:
        saved = event_type_save(
            actor=actor,
            name=row.name if row else fields["name"],
            fields=EventTypeFields(**{name: value for name, value in fields.items() if name != "name"}),
            must_be_new=row is None,
            idempotency_key=key,
        )
        return saved.row, []

    def delete_row(self, actor: Actor, row: EventType, key: str) -> None:
        event_type_delete(actor=actor, name=row.name, idempotency_key=key)

    def field_error(self, problem: dict[str, str]) -> tuple[str | None, str]:
        return problem["path"], problem["message"]

    def row_context(self, actor: Actor, row: EventType) -> dict[str, Any]:
        return {
            "buffer": self.buffer_label(row),
            "paths": self.paths_label(row),
            "identity": identity_label(row),
            "uses": uses_of(Referred.EVENT_TYPE, row.name, tenant_id=row.tenant_id),
        }
