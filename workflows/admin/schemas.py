"""Screens of payload schemas: the list, and the page of one schema.

The page also shows references and missing references.
"""

import json
from typing import Any

from django import forms
from django.contrib import admin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from workflows.actors import Actor
from workflows.admin.author_pages import AuthorPages
from workflows.admin.forms import JsonObjectField
from workflows.engine.json_schema.faults import DIALECT
from workflows.errors import PortalError
from workflows.models import PayloadSchema
from workflows.services.schemas import schema_delete, schema_save, schema_warnings
from workflows.services.uses import schema_users
from workflows.templatetags.pointsman import ago

EMPTY = {"$schema": DIALECT, "type": "object", "properties": {}, "required": []}


class SchemaField(JsonObjectField):
    def prepare_value(self, value: Any) -> Any:
        return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict) else value


class PayloadSchemaForm(forms.Form):
    ref = forms.CharField(
        label="Name",
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"spellcheck": "false"}),
        help_text="Definitions, event types and other schemas refer to this name, for example payload.TicketCreated.v1."
        " The name cannot be changed.",
    )
    title = forms.CharField(max_length=200, required=False, widget=UnfoldAdminTextInputWidget())
    schema = SchemaField(
        initial=EMPTY,
        help_text="JSON Schema 2020-12. A $ref points into this schema, or to the name or the $id of another schema.",
    )
    # Only shown after the service has listed what the change can break.
    force = forms.BooleanField(
        label="Save the change, although it can break the users of the schema",
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
    )

    def __init__(self, data: Any, **options: Any) -> None:
        super().__init__(data, **options)
        self.force_field = self.fields["force"]
        if not data or "force" not in data:
            del self.fields["force"]


@admin.register(PayloadSchema)
class PayloadSchemaAdmin(AuthorPages):
    page_template = "portal/schema_page.html"
    list_title = "Schemas"
    list_about = "JSON Schemas with which the portal checks payloads"
    list_empty = "Event types and definitions can name a schema. Then payloads that do not match it are rejected."
    list_display = ("ref", "title", "state_label", "updated_label")
    search_fields = ("ref", "title")
    ordering = ("ref",)

    @display(description="State", label={"registered": "success", "placeholder": "warning"})
    def state_label(self, row: PayloadSchema) -> str:
        return "placeholder" if row.is_placeholder else "registered"

    @display(description="Changed", ordering="updated_at")
    def updated_label(self, row: PayloadSchema) -> str:
        return ago(row.updated_at)

    def form_for(self, actor: Actor, row: PayloadSchema | None, data: Any) -> forms.Form:
        if row is None:
            return PayloadSchemaForm(data)
        form = PayloadSchemaForm(data, initial={"title": row.title, "schema": row.schema})
        del form.fields["ref"]
        form.fields["schema"].widget.attrs["rows"] = 28
        return form

    def save_row(
        self, actor: Actor, row: PayloadSchema | None, fields: dict[str, Any], key: str
    ) -> tuple[PayloadSchema, list[str]]:
        saved = schema_save(
            actor=actor,
            ref=row.ref if row else fields["ref"],
            schema=fields["schema"],
            title=fields["title"],
            must_be_new=row is None,
            force=fields.get("force", False),
            idempotency_key=key,
        )
        return saved.row, [f"{warning['pointer']} {warning['message']}" for warning in saved.warnings]

    def add_errors(self, form: forms.Form, error: PortalError) -> None:
        """Show each breaking change beside the schema, and offer to save the change anyway."""
        super().add_errors(form, error)
        if error.code == "SCHEMA_CHANGE_BREAKS" and isinstance(form, PayloadSchemaForm):
            for change in error.details["changes"]:
                form.add_error("schema", f"{change['pointer'] or '/'}: {change['message']} ({change['affects']})")
            form.fields["force"] = form.force_field

    def delete_row(self, actor: Actor, row: PayloadSchema, key: str) -> None:
        schema_delete(actor=actor, ref=row.ref, idempotency_key=key)

    def field_error(self, problem: dict[str, str]) -> tuple[str | None, str]:
        pointer = f"{problem['pointer'] or '/'}: " if problem["field"] == "schema" else ""
        return problem["field"], pointer + problem["message"]

    def row_context(self, actor: Actor, row: PayloadSchema) -> dict[str, Any]:
        warnings = schema_warnings(tenant_id=row.tenant_id, ref=row.ref, schema=row.schema)
        text = json.dumps(row.schema, indent=2, ensure_ascii=False)
        return {"uses": schema_users(row), "warnings": warnings, "schema_text": text}
