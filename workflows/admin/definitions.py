"""Screens of definitions: the list, the page with the versions, and the form that starts a run."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import actor_of, error_text, role_problem
from workflows.admin.bundles import BundlePages
from workflows.admin.definition_commands import DefinitionCommandViews
from workflows.admin.definition_edit import DefinitionEditViews
from workflows.admin.definition_list import list_context
from workflows.admin.definition_page import definition_context, definition_view
from workflows.admin.expression_lab import ExpressionLabViews
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import StartRunForm
from workflows.admin.live import live_page
from workflows.admin.problem_filters import DefinitionProblemFilter
from workflows.admin.start_choice import StartChoiceViews
from workflows.errors import PermissionRefused, PortalError
from workflows.models import Definition
from workflows.selectors.definition_page import page_annotations
from workflows.selectors.navigation import navigation_columns, navigation_of
from workflows.selectors.versions import definition_version, definitions_version
from workflows.services.runs.start import run_start
from workflows.statuses import Role


@admin.register(Definition)
class DefinitionAdmin(BundlePages, DefinitionCommandViews, DefinitionEditViews, ExpressionLabViews, StartChoiceViews):
    list_display = ("key",)  # the template of the list has its own columns
    list_filter = (DefinitionProblemFilter,)
    search_fields = ("key", "name")
    ordering = ("key",)
    list_select_related = ("published_version",)

    @live_page(definitions_version)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, {"title": "Definitions", **(extra_context or {})})
        context = getattr(response, "context_data", None)
        if context is not None and "cl" in context:
            context |= list_context(context["cl"], request)
        return response

    def get_urls(self) -> list[URLPattern]:
        start = self.admin_site.admin_view(self.start_view)
        own = [path("<uuid:pk>/start/", start, name="workflows_definition_start")]
        own += [*self.start_choice_urls(), *self.lab_urls(), *self.command_urls(), *self.edit_urls()]
        return [*own, *super().get_urls()]

    @method_decorator(require_safe)
    @live_page(definition_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        definition = self._shown_or_404(request, object_id)
        view = definition_view(definition, request.GET, actor_of(request))
        context = self.page_context(request, definition.name, **definition_context(view))
        return TemplateResponse(request, "portal/definition_page.html", context)

    def start_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        definition = self.find_or_404(request, pk)
        form = StartRunForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                run_id = _started(request, definition, form.cleaned_data)
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.info(request, "Temporal has accepted the run. This page shows its result.")
                return HttpResponseRedirect(reverse("admin:workflows_run_change", args=[run_id]))
        back = reverse("admin:workflows_definition_change", args=[definition.id])
        context = self.page_context(
            request,
            f"Start {definition.name}",
            form=form,
            back=back,
            button="Start the run",
            note="The run starts in Temporal at once.",
            why_not=role_problem(actor_of(request), Role.OPERATOR, to="start a run"),
        )
        return TemplateResponse(request, "portal/form_page.html", context)

    def _shown_or_404(self, request: HttpRequest, pk: str) -> Definition:
        """Return the definition. The page of a deleted definition stays, because its runs link to it.

        The statement also reads the counts of the navigation.
        """
        try:
            tenant_id = actor_of(request).tenant_id
            found = Definition._base_manager.filter(tenant_id=tenant_id, id=pk).select_related("published_version")
            definition = found.annotate(
                **page_annotations(tenant_id=tenant_id), **navigation_columns(tenant_id)
            ).first()
        except ValidationError:
            definition = None
        if definition is None:
            raise Http404(f"There is no definition {pk}.")
        request.navigation_counts = navigation_of(vars(definition))  # type: ignore[attr-defined]
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
