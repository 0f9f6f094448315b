"""Pages that save and delete a view of the run list."""

import uuid
from typing import Any
from urllib.parse import parse_qsl

from django import forms
from django.contrib import messages
from django.contrib.admin.views.main import ORDER_VAR
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.list_filters import PAGE_PARAMETERS
from workflows.admin.run_filters import COLUMNS_VAR, RunListForm
from workflows.errors import NotFound, PortalError
from workflows.models import SavedView
from workflows.selectors.run_values import search_paths_of
from workflows.services.saved_views import saved_view_delete, saved_view_find, saved_view_save, saved_views_of
from workflows.statuses import Role

LIST = "admin:workflows_run_changelist"


class SavedViewForm(forms.Form):
    name = forms.CharField(
        max_length=100, widget=UnfoldAdminTextInputWidget(), help_text="It replaces your view of this name."
    )
    is_shared = forms.BooleanField(
        label="Shared", required=False, widget=UnfoldBooleanSwitchWidget(),
        help_text="All members of the tenant can open the view.",
    )  # fmt: skip
    query = forms.CharField(required=False, max_length=4000, widget=forms.HiddenInput())

    def __init__(self, actor: Actor, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        self.actor = actor

    def clean_query(self) -> str:
        """Keep only parameters of the list, so that a view is never more than a list with filters."""
        asked = QueryDict(self.cleaned_data["query"].removeprefix("?"))
        form = RunListForm(asked, search_paths_of(self.actor, asked.get("definition", "")))
        known = {*form.names, ORDER_VAR, COLUMNS_VAR}
        if not form.is_valid() or set(form.query) - known - {*PAGE_PARAMETERS}:
            raise forms.ValidationError("A filter of the list cannot be read. Correct the filter, then save the view.")
        query = form.query.copy()
        for name in PAGE_PARAMETERS:
            query.pop(name, None)
        return str(query.urlencode())


class RunViewViews(TenantAdmin):
    """Views of `RunAdmin` for saved views of the list."""

    def view_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("views/save/", wrap(self.save_view), name="workflows_run_save_view"),
            path("views/<uuid:view_id>/delete/", wrap(self.delete_saved_view), name="workflows_run_delete_view"),
        ]

    def save_view(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        given = request.POST.get("query", "") if request.method == "POST" else request.GET.urlencode()
        form = SavedViewForm(actor, request.POST or None, initial={"query": given})
        if not actor.has_role(Role.OPERATOR):
            del form.fields["is_shared"]
        back = f"{reverse(LIST)}?{given.removeprefix('?')}"
        if request.method == "POST" and form.is_valid():
            try:
                once(lambda: saved_view_save(actor=actor, idempotency_key=key_of(request), **form.cleaned_data))
            except PortalError as error:
                form.add_error(None, error_text(error))
            else:
                messages.success(request, f"The view {form.cleaned_data['name']} is saved.")
                return HttpResponseRedirect(f"{reverse(LIST)}?{form.cleaned_data['query']}")
        for problem in form.errors.pop("query", []):
            form.add_error(None, problem)
        note = "A view keeps the filters, the search, the order and the columns of the run list under a name."
        return self._view_page(request, "Save this view", form=form, back=back, button="Save the view", note=note)

    def delete_saved_view(self, request: HttpRequest, view_id: uuid.UUID) -> HttpResponse:
        actor = actor_of(request)
        try:
            view = saved_view_find(actor=actor, view_id=view_id)
            if request.method == "POST":
                once(lambda: saved_view_delete(actor=actor, view_id=view_id, idempotency_key=key_of(request)))
                messages.success(request, f"The view {view.name} is deleted.")
                return HttpResponseRedirect(reverse(LIST))
        except NotFound as error:
            raise Http404(error.message) from error
        note = "All members lose this shared view." if view.is_shared else "Only you can see this view."
        back = f"{reverse(LIST)}?{view.query}"
        return self._view_page(request, f"Delete the view {view.name}?", back=back, button="Delete the view", note=note)

    def _view_page(self, request: HttpRequest, title: str, **more: Any) -> HttpResponse:
        return TemplateResponse(request, "portal/form_page.html", self.page_context(request, title, **more))


def views_context(actor: Actor, request: HttpRequest) -> dict[str, Any]:
    """Return the views for the menu of the list, and the view that the list shows now. Cost: one statement."""
    shown = _normalised(request.GET.urlencode())
    views = list(saved_views_of(actor=actor))
    chosen = next((view for view in views if _normalised(view.query) == shown), None) if shown else None
    offered = [{"row": view, "may_delete": _may_delete(actor, view)} for view in views]
    return {"views": offered, "chosen_view": chosen}


def _may_delete(actor: Actor, view: SavedView) -> bool:
    return str(view.user_id) == actor.id or (view.is_shared and actor.has_role(Role.ADMIN))


def _normalised(query: str) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in parse_qsl(query) if name not in PAGE_PARAMETERS)
