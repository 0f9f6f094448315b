"""Screens of HTTP connectors, their test call, and the catalogue of all actions.

Source: docs/reference/screens.md#other-screens
"""

import json
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display

from workflows.actions.connector_spec import request_line
from workflows.actors import Actor
from workflows.admin.author_pages import AuthorPages
from workflows.admin.base import actor_of, error_text
from workflows.admin.connector_forms import ConnectorForm, TrialForm, spec_of
from workflows.admin.form_keys import key_of, once
from workflows.errors import NotFound, PermissionRefused, PortalError
from workflows.models import Connector
from workflows.services.action_catalogue import action_catalogue, catalogue_entry
from workflows.services.connector_trial import connector_try
from workflows.services.connectors import connector_delete, connector_save
from workflows.services.references import Referred
from workflows.services.uses import connector_uses, uses_of
from workflows.statuses import Role
from workflows.templatetags.pointsman import ago


@admin.register(Connector)
class ConnectorAdmin(AuthorPages):
    page_template = "portal/connector_page.html"
    list_title = "Connectors"
    list_about = "HTTP requests that definitions call as actions"
    list_empty = "A connector makes an HTTP request of another system an action. An administrator adds one."
    writer_role = Role.ADMIN
    list_display = ("name_label", "label", "request_label", "created_label")
    search_fields = ("action_id", "label")
    ordering = ("action_id", "version")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("catalogue/", wrap(self.catalogue_view), name="workflows_connector_catalogue"),
            path(
                "catalogue/<str:action_id>/<int:version>/",
                wrap(self.action_view),
                name="workflows_connector_action",
            ),
            path("<uuid:pk>/test/", wrap(self.test_view), name="workflows_connector_test"),
            *super().get_urls(),
        ]

    @display(description="Action", ordering="action_id")
    def name_label(self, row: Connector) -> str:
        return str(row)

    @display(description="Request")
    def request_label(self, row: Connector) -> str:
        return request_line(row.spec)

    @display(description="Created", ordering="created_at")
    def created_label(self, row: Connector) -> str:
        return ago(row.created_at)

    # -- Edit --------------------------------------------------------------------------------------------------------

    def form_for(self, actor: Actor, row: Connector | None, data: Any) -> forms.Form:
        return ConnectorForm(data, row=row, is_used=row is not None and bool(connector_uses(row)))

    def save_row(
        self, actor: Actor, row: Connector | None, fields: dict[str, Any], key: str
    ) -> tuple[Connector, list[str]]:
        version = fields.get("version") if row is None else row.version
        saved = connector_save(
            actor=actor,
            action_id=fields["action_id"] if row is None else row.action_id,
            version=None if fields.get("save_as") == "new" else version,
            spec=spec_of(fields),
            idempotency_key=key,
        )
        return saved.row, []

    def delete_row(self, actor: Actor, row: Connector, key: str) -> None:
        connector_delete(actor=actor, action_id=row.action_id, version=row.version, idempotency_key=key)

    def field_error(self, problem: dict[str, str]) -> tuple[str | None, str]:
        pointer = f"{problem['pointer']}: " if problem["pointer"] else ""
        return problem["field"] or None, pointer + problem["message"]

    def row_context(self, actor: Actor, row: Connector) -> dict[str, Any]:
        text = json.dumps(row.spec, indent=2, ensure_ascii=False)
        return {"uses": connector_uses(row), "spec_text": text, "may_test": actor.has_role(Role.AUTHOR)}

    # -- Test call ---------------------------------------------------------------------------------------------------

    def test_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        row, actor = self._get_or_404(request, str(pk)), actor_of(request)
        examples = row.spec.get("examples") or [{}]
        form = TrialForm(request.POST or None, initial={"input": json.dumps(examples[0], indent=2, ensure_ascii=False)})
        trial, is_repeat = None, False
        if request.method == "POST" and form.is_valid():
            try:
                trial = once(
                    lambda: connector_try(
                        actor=actor,
                        action_id=row.action_id,
                        version=row.version,
                        value=form.cleaned_data["input"],
                        idempotency_key=key_of(request),
                    )
                )
                is_repeat = trial is None
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                form.add_error(None, error_text(error))
        context = self.page_context(
            request,
            f"Test {row}",
            row=row,
            request_line=request_line(row.spec),
            form=form,
            trial=trial,
            is_repeat=is_repeat,
            may_test=actor.has_role(Role.AUTHOR),
            back=reverse("admin:workflows_connector_change", args=[row.id]),
            sent=_shown(trial.request) if trial else "",
            received=_shown(trial.error or trial.output) if trial else "",
        )
        return TemplateResponse(request, "portal/connector_test.html", context)

    # -- Catalogue ---------------------------------------------------------------------------------------------------

    def catalogue_view(self, request: HttpRequest) -> HttpResponse:
        entries = action_catalogue(actor_of(request).tenant_id)
        return TemplateResponse(
            request, "portal/action_catalogue.html", self.page_context(request, "Actions", entries=entries)
        )

    def action_view(self, request: HttpRequest, action_id: str, version: int) -> HttpResponse:
        tenant_id = actor_of(request).tenant_id
        try:
            entry = catalogue_entry(tenant_id=tenant_id, action_id=action_id, version=version)
        except NotFound as error:
            raise Http404(error.message) from error
        context = self.page_context(
            request,
            str(entry),
            entry=entry,
            uses=uses_of(Referred.ACTION, entry.id, tenant_id=tenant_id, version=entry.version),
            input_schema=_shown(entry.input_schema),
            output_schema=_shown(entry.output_schema),
            examples=[_shown(example) for example in entry.examples],
            retry_hint=_shown(entry.retry_hint) if entry.retry_hint else "",
        )
        return TemplateResponse(request, "portal/action_page.html", context)


def _shown(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
