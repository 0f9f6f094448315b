"""Pages on which authors create a definition, edit its draft and change its settings.

Source: docs/reference/administration.md#definition-life-cycle
"""

import uuid
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.definition_forms import CREATE_FORMS, DraftForm, SettingsForm, draft_as_text
from workflows.admin.definition_graph import definition_graph
from workflows.admin.form_keys import key_of, once
from workflows.admin.text_diff import changed_lines
from workflows.errors import Conflict, PermissionRefused, PortalError
from workflows.models import Definition
from workflows.services.definitions.changes import require_definition_role
from workflows.services.definitions.drafts import definition_create, definition_save_draft, draft_text
from workflows.services.definitions.problems import definition_problems
from workflows.services.definitions.settings import definition_save_settings
from workflows.statuses import CommandAction, Role

# The field of the form beside which a refusal is shown.
FIELD_OF_CODE = {
    "KEY_INVALID": "key",
    "DEFINITION_EXISTS": "key",
    "DEFINITION_NOT_FOUND": "copy_of",
    "DEFINITION_VERSION_NOT_FOUND": "copy_version",
}


class DefinitionPages(TenantAdmin):
    """Base of the pages about one definition."""

    def find_or_404(self, request: HttpRequest, pk: Any) -> Definition:
        definition = self.get_object(request, str(pk))
        if definition is None:
            raise Http404(f"There is no definition {pk}.")
        return definition

    def require_author(self, request: HttpRequest, action: CommandAction, key: str = "") -> None:
        """Refuse a user without the role author. A refused POST is recorded in the command ledger.

        Errors: PermissionDenied.
        """
        actor = actor_of(request)
        try:
            if request.method == "POST":
                require_definition_role(actor=actor, key=key, action=action)
            actor.require(Role.AUTHOR, to="change definitions")
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error

    def refusal(self, form: forms.Form, call: Callable[[], object]) -> PortalError | None:
        """Call a service once. Return None, or write the refusal of the service to the form and return it."""
        try:
            once(call)
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        except PortalError as error:
            problems = error.details.get("problems") or []
            fields = [problem for problem in problems if problem.get("field") in form.fields]
            for problem in fields:
                form.add_error(problem["field"], f"This {problem['message']}.")
            if not fields:
                field = FIELD_OF_CODE.get(error.code)
                form.add_error(field if field in form.fields else None, error_text(error))
            return error
        return None


class DefinitionEditViews(DefinitionPages):
    """Views of `DefinitionAdmin` for authors."""

    def edit_urls(self) -> list[URLPattern]:
        views = {"draft": self.draft_view, "settings": self.settings_view}
        return [
            path(f"<uuid:pk>/{name}/", self.admin_site.admin_view(view), name=f"workflows_definition_{name}")
            for name, view in views.items()
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).has_role(Role.AUTHOR)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_author(request, CommandAction.CREATE_DEFINITION)
        origin = request.GET.get("origin", "blank")
        if origin not in CREATE_FORMS:
            raise Http404(f"There is no origin {origin[:100]!r}.")
        given = {name: request.GET[name] for name in ("copy_of", "copy_version") if name in request.GET}
        form = CREATE_FORMS[origin](request.POST if request.method == "POST" else None, initial=given)
        if request.method == "POST" and form.is_valid():
            fields = form.cleaned_data

            def create() -> Definition:
                return definition_create(
                    actor=actor_of(request),
                    key=fields["key"],
                    name=fields["name"],
                    origin=form.origin(),
                    idempotency_key=key_of(request),
                )

            if self.refusal(form, create) is None:
                made = Definition.objects.get(tenant_id=actor_of(request).tenant_id, key=fields["key"])
                messages.success(request, f"{made.key} is created. Nothing is published yet.")
                return HttpResponseRedirect(reverse("admin:workflows_definition_draft", args=[made.id]))
        context = self.page_context(request, "New definition", form=form, origin=origin, origins=CREATE_FORMS)
        return TemplateResponse(request, "portal/definition_new.html", context)

    def draft_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        """Show the draft with its problems. POST saves it, or with `check` only checks the text."""
        definition = self.find_or_404(request, pk)
        self.require_author(request, CommandAction.EDIT_DEFINITION, definition.key)
        stored = draft_as_text(definition)
        initial = {"document": stored, "draft_version": definition.draft_version}
        form = DraftForm(request.POST if request.method == "POST" else None, initial=initial)
        if request.method != "POST":
            return self._draft_page(request, definition, form, stored)
        if not form.is_valid():
            return self._draft_page(request, definition, form, None)
        if "check" in request.POST:
            return self._draft_page(request, definition, form, form.data["document"], is_checked=True)
        fields = form.cleaned_data

        def save() -> Definition:
            return definition_save_draft(
                actor=actor_of(request),
                key=definition.key,
                document=fields["document"],
                draft_version=fields["draft_version"],
                idempotency_key=key_of(request),
            )

        refusal = self.refusal(form, save)
        if refusal is not None and refusal.code == "DRAFT_STALE":
            return self._stale_page(request, definition, fields["document"])
        if refusal is not None:
            return self._draft_page(request, definition, form, form.data["document"])
        messages.success(request, "The draft is saved. New runs use it after it is published.")
        return HttpResponseRedirect(request.path)

    def _stale_page(self, request: HttpRequest, definition: Definition, document: Any) -> HttpResponse:
        """Show the stored draft and the refused text. A second save replaces the stored draft."""
        definition.refresh_from_db()
        stored, own = draft_as_text(definition), draft_text(document)
        form = DraftForm(initial={"document": own, "draft_version": definition.draft_version})
        changes = changed_lines(stored, own)
        response = self._draft_page(request, definition, form, own, stored=stored, changes=changes)
        response.status_code = Conflict.status
        return response

    def _draft_page(
        self, request: HttpRequest, definition: Definition, form: forms.Form, text: str | None, **more: Any
    ) -> HttpResponse:
        """Show the editor. `text` is the text to be checked. It is None if it is not a JSON object."""
        problems, document = [], None
        if text is not None:
            document = form.fields["document"].clean(text)
            problems = definition_problems(document, tenant_id=definition.tenant_id, text=text)
        context = self.page_context(
            request,
            f"Draft of {definition.name}",
            definition=definition,
            form=form,
            problems=problems,
            graph=definition_graph(document, problems),
            is_read=text is not None,
            is_valid=not any(problem.is_error for problem in problems),
            back=reverse("admin:workflows_definition_change", args=[definition.id]),
            **more,
        )
        return TemplateResponse(request, "portal/definition_draft.html", context)

    def settings_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        definition = self.find_or_404(request, pk)
        self.require_author(request, CommandAction.EDIT_DEFINITION, definition.key)
        initial = {name: getattr(definition, name) for name in SettingsForm.base_fields if name != "reason"}
        form = SettingsForm(request.POST if request.method == "POST" else None, initial=initial)
        back = reverse("admin:workflows_definition_change", args=[definition.id])
        if request.method == "POST" and form.is_valid():

            def save() -> Definition:
                return definition_save_settings(
                    actor=actor_of(request),
                    key=definition.key,
                    changes=form.changes(definition),
                    reason=form.cleaned_data["reason"],
                    idempotency_key=key_of(request),
                )

            if self.refusal(form, save) is None:
                messages.success(request, "The settings are saved. They apply from now on.")
                return HttpResponseRedirect(back)
        context = self.page_context(
            request,
            f"Settings of {definition.name}",
            form=form,
            back=back,
            button="Save the settings",
            note="The settings apply to all versions at once. Open runs continue.",
        )
        return TemplateResponse(request, "portal/form_page.html", context)
