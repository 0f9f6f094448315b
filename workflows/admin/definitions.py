"""Screens of definitions: the list, the page with the versions, and the form that starts a run."""

import json
import uuid
from typing import Any

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from unfold.decorators import display

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import StartRunForm
from workflows.errors import PortalError
from workflows.models import Definition
from workflows.services.definitions.problems import definition_problems
from workflows.services.runs.start import run_start
from workflows.statuses import OPEN_RUN_STATUSES, Role
from workflows.templatetags.pointsman import moment


@admin.register(Definition)
class DefinitionAdmin(TenantAdmin):
    list_display = ("key", "name", "state_label", "version_label", "trigger_label", "open_runs", "updated_label")
    list_display_links = ("key", "name")
    search_fields = ("key", "name")
    ordering = ("key",)
    list_select_related = ("published_version",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Definitions", **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        start = self.admin_site.admin_view(self.start_view)
        return [path("<uuid:pk>/start/", start, name="workflows_definition_start"), *super().get_urls()]

    @display(
        description="State", label={"published": "success", "paused": "warning", "draft": "info", "archived": "default"}
    )
    def state_label(self, definition: Definition) -> str:
        return str(definition.state)

    @display(description="Version")
    def version_label(self, definition: Definition) -> str:
        return str(definition.published_version.version) if definition.published_version else "–"

    @display(description="Started by")
    def trigger_label(self, definition: Definition) -> str:
        version = definition.published_version
        if version is None:
            return "–"
        return version.trigger_event_name or version.get_trigger_type_display()

    @display(description="Changed", ordering="updated_at")
    def updated_label(self, definition: Definition) -> str:
        return moment(definition.updated_at)

    @display(description="Open runs")
    def open_runs(self, definition: Definition) -> int:
        return definition.runs.filter(status__in=OPEN_RUN_STATUSES).count()

    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        definition = self._get_or_404(request, object_id)
        document = (
            definition.published_version.document()
            if definition.published_version
            else json.loads(definition.draft_text or "{}")
        )
        runs = definition.runs.order_by("-created_at")[:10]
        context = self.page_context(
            request,
            definition.name,
            definition=definition,
            document=document,
            text=json.dumps(document, indent=2, ensure_ascii=False),
            versions=definition.versions.order_by("-version")[:50],
            problems=definition_problems(document, tenant_id=definition.tenant_id),
            runs=runs,
            may_start=actor_of(request).has_role(Role.OPERATOR) and definition.published_version_id is not None,
        )
        return TemplateResponse(request, "portal/definition_page.html", context)

    def start_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        definition = self._get_or_404(request, str(pk))
        form = StartRunForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                run_id = _started(request, definition, form.cleaned_data)
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.success(request, "Temporal has accepted the run.")
                return HttpResponseRedirect(reverse("admin:workflows_run_change", args=[run_id]))
        back = reverse("admin:workflows_definition_change", args=[definition.id])
        context = self.page_context(
            request,
            f"Start {definition.name}",
            form=form,
            back=back,
            button="Start the run",
            note="The run starts in Temporal at once.",
        )
        return TemplateResponse(request, "portal/form_page.html", context)

    def _get_or_404(self, request: HttpRequest, pk: str) -> Definition:
        definition = self.get_object(request, pk)
        if definition is None:
            raise Http404(f"There is no definition {pk}.")
        return definition


def _started(request: HttpRequest, definition: Definition, fields: dict[str, Any]) -> uuid.UUID:
    started = once(
        lambda: run_start(
            actor=actor_of(request),
            definition_key=definition.key,
            version=fields["version"],
            payload=fields["payload"],
            reason=fields["reason"],
            idempotency_key=key_of(request),
        )
    )
    assert started is not None, "a start returns its run also for a repeat"
    return started[0]
