"""Screens of definitions: the list, the page with the versions, and the form that starts a run."""

import uuid
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from unfold.decorators import display

from workflows.admin.base import actor_of, error_text
from workflows.admin.bundles import BundlePages
from workflows.admin.definition_commands import DefinitionCommandViews, definition_offers
from workflows.admin.definition_edit import DefinitionEditViews
from workflows.admin.definition_graph import definition_graph
from workflows.admin.expression_lab import ExpressionLabViews
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import StartRunForm
from workflows.admin.problem_filters import DefinitionProblemFilter
from workflows.admin.schedules import state_of
from workflows.engine.validate import Problem
from workflows.errors import PortalError
from workflows.json_numbers import write_json
from workflows.models import Command, Definition, Schedule
from workflows.services.definitions.drafts import draft_document
from workflows.services.definitions.pause import starts_waiting
from workflows.services.definitions.problems import definition_problems
from workflows.services.definitions.publish import draft_differs
from workflows.services.runs.start import run_start
from workflows.statuses import OPEN_RUN_STATUSES, DefinitionState, Role
from workflows.templatetags.pointsman import moment

SHOWN_HELD = 20
SHOWN_COMMANDS = 20
SHOWN_SCHEDULES = 50


@admin.register(Definition)
class DefinitionAdmin(BundlePages, DefinitionCommandViews, DefinitionEditViews, ExpressionLabViews):
    list_display = ("key", "name", "state_label", "version_label", "trigger_label", "open_runs", "updated_label")
    list_display_links = ("key", "name")
    list_filter = (DefinitionProblemFilter,)
    list_filter_submit = True
    search_fields = ("key", "name")
    ordering = ("key",)
    list_select_related = ("published_version",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Definitions", **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        start = self.admin_site.admin_view(self.start_view)
        own = [path("<uuid:pk>/start/", start, name="workflows_definition_start")]
        return [*own, *self.lab_urls(), *self.command_urls(), *self.edit_urls(), *super().get_urls()]

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
        definition = self._shown_or_404(request, object_id)
        published = definition.published_version
        document = published.document() if published else draft_document(definition)
        problems = definition_problems(document, tenant_id=definition.tenant_id)
        actor = actor_of(request)
        held = starts_waiting(definition)
        context = self.page_context(
            request,
            definition.name,
            definition=definition,
            document=document,
            text=write_json(document, indent=2, ensure_ascii=False),
            versions=definition.versions.order_by("-version")[:50],
            problems=problems,
            graph=definition_graph(document, problems),
            runs=definition.runs.order_by("-created_at")[:10],
            has_change=bool(published) and draft_differs(definition),
            offers=definition_offers(definition, actor, no_publish=_no_publish(definition, problems)),
            may_edit=actor.has_role(Role.AUTHOR) and definition.state != DefinitionState.ARCHIVED,
            held_count=held.count(),
            held=held.select_related("event", "definition_version").defer("event__payload")[:SHOWN_HELD],
            schedules=_schedules(definition),
            commands=_commands(definition),
        )
        return TemplateResponse(request, "portal/definition_page.html", context)

    def start_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        definition = self.find_or_404(request, pk)
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

    def _shown_or_404(self, request: HttpRequest, pk: str) -> Definition:
        """Return the definition. The page of a deleted definition stays, because its runs link to it."""
        try:
            found = Definition._base_manager.filter(tenant_id=actor_of(request).tenant_id, id=pk)
            definition = found.select_related("published_version").first()
        except ValidationError:
            definition = None
        if definition is None:
            raise Http404(f"There is no definition {pk}.")
        return definition


def _no_publish(definition: Definition, problems: list[Problem]) -> str:
    """Return why the draft cannot be published. `problems` are those of the published version, or of the draft."""
    if not definition.draft_text:
        return "The definition has no draft."
    if definition.published_version is not None:
        return "" if draft_differs(definition) else "The draft is published already."
    return "The draft has errors." if any(problem.is_error for problem in problems) else ""


def _schedules(definition: Definition) -> list[tuple[Schedule, str]]:
    """Return the schedules of the definition, each with its state as text."""
    rows = definition.schedules.filter(removed_at__isnull=True).select_related("definition").order_by("name")
    return [(row, state_of(row)[1]) for row in rows[:SHOWN_SCHEDULES]]


def _commands(definition: Definition) -> list[Command]:
    of_key = Command.objects.filter(tenant_id=definition.tenant_id, target_id=definition.key, target_type="definition")
    return list(of_key.order_by("-requested_at")[:SHOWN_COMMANDS])


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
