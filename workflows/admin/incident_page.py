"""The page of one incident, and its changes. GET of a change shows a form, POST carries it out.

Source: docs/reference/incidents.md#pages
"""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_http_methods, require_POST

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.bulk_page import preview_context
from workflows.admin.bulk_places import INCIDENT, incident_address
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import BulkStartForm
from workflows.admin.incident_forms import STEPS
from workflows.admin.incident_replays import replays_context
from workflows.admin.live import live_page
from workflows.errors import NotFound, PermissionRefused, PortalError
from workflows.models import BulkJob, Incident
from workflows.selectors.incident_page import incident_page, notes_and_merged
from workflows.selectors.versions import incident_version
from workflows.services.incidents.change import incident_own, require_incident_role
from workflows.services.incidents.find import incident_find
from workflows.services.incidents.replay import incident_replay_preview
from workflows.statuses import ACTIVE_INCIDENT_STATES, IncidentState, ReplayVersion, Role


class IncidentPageViews(TenantAdmin):
    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [
            path(f"<uuid:pk>/{name}/", wrap(self.step_view), {"name": name}, name=f"workflows_incident_{name}")
            for name in STEPS
        ]
        own += [
            path("<uuid:pk>/take/", wrap(self.take_view), name="workflows_incident_take"),
            path("<uuid:pk>/replay/", wrap(self.replay_view), name="workflows_incident_replay"),
        ]
        return [*own, *super().get_urls()]

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    @live_page(incident_version)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        try:
            incident = _incident_or_404(request, uuid.UUID(object_id))
        except ValueError as error:
            raise Http404(f"There is no incident {object_id}.") from error
        if request.method == "POST" and "preview" not in request.GET:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if request.method == "POST":
            return self._start_replay(request, incident)
        return self.incident_page(request, incident, preview_id=_preview_id(request))

    def _start_replay(self, request: HttpRequest, incident: Incident) -> HttpResponse:
        """Start the replay whose preview the address names. The form has this address, so its errors stay here."""
        jobs: Any = self.admin_site.get_model_admin(BulkJob)
        _require_operator(request, incident)
        job_id = _preview_id(request)
        own = BulkJob.objects.filter(tenant_id=incident.tenant_id, incident=incident)
        if job_id is None or not own.filter(id=job_id).exists():
            raise Http404(f"{incident} has no replay with this id. Load the page of the incident again.")
        response: HttpResponse = jobs.step_view(request, pk=job_id, step="start")
        return response

    def incident_page(
        self, request: HttpRequest, incident: Incident, *, preview_id: uuid.UUID | None, form: Any = None
    ) -> HttpResponse:
        """Show the page of an incident. `preview_id`: replay job whose preview is shown, instead of the offer of one.

        `form`: start form of the preview with errors, so that the page shows what was typed.
        """
        actor = actor_of(request)
        page = incident_page(incident, preview_id=preview_id)
        preview = page.preview
        may_act = actor.has_role(Role.OPERATOR)
        shown = preview_context(preview) | {"job": preview} if preview else {}
        context = self.page_context(
            request,
            f"{incident} {incident.definition.name}",
            incident=incident,
            page=page,
            **replays_context(incident, page),
            preview=preview,
            form=form or BulkStartForm(initial={"reason": preview.reason if preview else ""}),
            shown_on=INCIDENT,
            back_address=incident_address(incident.id),
            **shown,
            published=incident.definition.published_version and incident.definition.published_version.version,
            may_act=may_act,
            is_active=incident.state in ACTIVE_INCIDENT_STATES,
            is_over=incident.state in (IncidentState.RESOLVED, IncidentState.CLOSED),
            is_mine=actor.kind == "user" and str(incident.owner_id) == actor.id,
        )
        return TemplateResponse(request, "portal/incident_page.html", context)

    # -- Changes -----------------------------------------------------------------------------------------------------

    def step_view(self, request: HttpRequest, pk: uuid.UUID, name: str) -> HttpResponse:
        incident = _incident_or_404(request, pk)
        _require_operator(request, incident)
        step = STEPS[name]
        form = step.form(request.POST if request.method == "POST" else None, incident)
        form.initial.update({name: value for name, value in request.GET.items() if name in form.fields})
        if request.method == "POST" and form.is_valid():
            try:
                values = {**form.cleaned_data, "actor": actor_of(request), "incident_id": pk}
                changed = once(lambda: step.service(**values, idempotency_key=key_of(request)))
                shown = changed if isinstance(changed, Incident) else incident
                messages.success(request, step.done.format(**form.cleaned_data, incident=shown))
                return HttpResponseRedirect(_url(shown.id))
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                _show_error(form, error)
        context = self.page_context(
            request,
            f"{step.title} {incident}",
            form=form,
            hidden={},
            note=step.note,
            button=step.button,
            back=_url(pk),
        )
        return TemplateResponse(request, "portal/form_page.html", context, status=400 if form.errors else 200)

    @method_decorator(require_POST)
    def take_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Make the member the owner of the incident."""
        _require_operator(request, _incident_or_404(request, pk))
        try:
            once(lambda: incident_own(actor=actor_of(request), incident_id=pk, idempotency_key=key_of(request)))
        except PortalError as error:
            messages.error(request, error_text(error))
        return HttpResponseRedirect(_url(pk))

    @method_decorator(require_POST)
    def replay_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Freeze the runs of the incident as the preview of a replay job, and show the preview."""
        _require_operator(request, _incident_or_404(request, pk))
        wanted = request.POST.get("replay_version", "")
        only_not_replayed = request.POST.get("runs") == "not_replayed"
        version = wanted if wanted in ReplayVersion.values else ReplayVersion.PUBLISHED
        try:
            job = once(
                lambda: incident_replay_preview(
                    actor=actor_of(request),
                    incident_id=pk,
                    replay_version=version,
                    only_not_replayed=only_not_replayed,
                    idempotency_key=key_of(request),
                )
            )
        except PortalError as error:
            messages.error(request, error_text(error))
            return HttpResponseRedirect(_url(pk))
        assert job is not None, "a preview returns its job also for a repeat"
        return HttpResponseRedirect(incident_address(pk, preview=job.id))


def _preview_id(request: HttpRequest) -> uuid.UUID | None:
    """Return the id of the preview that the address names, if this member may start it."""
    try:
        return uuid.UUID(request.GET.get("preview", "")) if actor_of(request).has_role(Role.OPERATOR) else None
    except ValueError:
        return None


def _incident_or_404(request: HttpRequest, pk: uuid.UUID) -> Incident:
    try:
        return incident_find(actor=actor_of(request), incident_id=pk, annotations=notes_and_merged())
    except NotFound as error:
        raise Http404(error.message) from error


def _require_operator(request: HttpRequest, incident: Incident) -> None:
    """Refuse a member who may not change incidents, before a form is shown. A refused POST is in the ledger."""
    actor = actor_of(request)
    try:
        if request.method == "POST":
            require_incident_role(actor=actor, incident_id=incident.id)
        else:
            actor.require(Role.OPERATOR, to="change incidents")
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error


def _show_error(form: forms.Form, error: PortalError) -> None:
    """Show the error of a service beside its field, or above the form."""
    fields = error.details.get("fields", {})
    for name, problems in fields.items():
        for problem in problems:
            form.add_error(name if name in form.fields else None, problem)
    if not fields:
        form.add_error(None, error_text(error))


def _url(pk: uuid.UUID) -> str:
    return reverse("admin:workflows_incident_change", args=[pk])
