"""Pages of bundles: import with a preview, and export of the chosen definitions."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.errors import PermissionRefused, PortalError
from workflows.models import Command, Definition
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_export import BUNDLE_HEADERS, BUNDLE_TYPE, bundle_export
from workflows.services.bundle_import import ImportResult, bundle_import, bundle_preview, require_import_role
from workflows.services.bundle_results import problem_line, result_notes
from workflows.services.bundle_store import Imported
from workflows.services.bundle_text import read_bundle_text
from workflows.services.idempotency import CommandRepeated
from workflows.statuses import CommandAction, Role


class BundleForm(forms.Form):
    file = forms.FileField(required=False, widget=UnfoldAdminFileFieldWidget(), help_text="The exported file.")
    text = forms.CharField(
        required=False,
        strip=False,
        label="Or its text",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false", "class": "pm-code"}),
    )
    publish = forms.BooleanField(
        required=False, label="Publish the drafts", widget=UnfoldBooleanWidget(),
        help_text="Published versions of the bundle are always imported as versions.",
    )  # fmt: skip
    partial = forms.BooleanField(
        required=False, label="Leave out refused workflows", widget=UnfoldBooleanWidget(),
        help_text="Without this choice, the whole bundle is refused if one workflow is refused.",
    )  # fmt: skip
    force = forms.BooleanField(
        required=False, label="Replace unpublished drafts", widget=UnfoldBooleanWidget(),
        help_text="Unpublished changes of these drafts are lost. Archived definitions leave the archive.",
    )  # fmt: skip
    placeholders = forms.BooleanField(
        required=False, label="Create placeholders", widget=UnfoldBooleanWidget(),
        help_text="Save the drafts of workflows whose actions or schemas are missing in this tenant.",
    )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        """Read the bundle from the file or from the text. The text field then shows the text of the file."""
        fields = super().clean() or {}
        content = fields["file"].read() if fields.get("file") else fields.get("text", "").encode()
        if not content.strip():
            raise forms.ValidationError("Choose a file, or paste the text of a bundle.")
        try:
            fields["document"] = read_bundle_text(content)
        except PortalError as error:
            self.add_error("file" if fields.get("file") else "text", error_text(error))
            return fields
        self.data = {**self.data.dict(), "text": content.decode("utf-8-sig")}  # type: ignore[attr-defined]
        return fields

    @property
    def options(self) -> ImportOptions:
        chosen = {name: self.cleaned_data[name] for name in ("publish", "partial", "force", "placeholders")}
        return ImportOptions(**chosen)


class BundlePages(TenantAdmin):
    """Part of `DefinitionAdmin` that imports and exports bundles."""

    actions = ("export_bundle",)  # type: ignore[assignment]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.import_view)
        return [path("import/", view, name="workflows_definition_import"), *super().get_urls()]

    @admin.action(description="Export as a bundle")
    def export_bundle(self, request: HttpRequest, queryset: QuerySet[Definition]) -> HttpResponse | None:
        keys = list(queryset.order_by("key").values_list("key", flat=True))
        try:
            text = bundle_export(actor=actor_of(request), keys=keys)
        except PortalError as error:
            self.message_user(request, error_text(error), messages.ERROR)
            return None
        return HttpResponse(text, content_type=BUNDLE_TYPE, headers=BUNDLE_HEADERS)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, the preview of an import, or the results of an import from the ledger."""
        actor = actor_of(request)
        if request.method != "POST":
            if not actor.has_role(Role.AUTHOR):
                raise PermissionDenied(f"You need the role {Role.AUTHOR} to import definitions.")
            return self._import_page(request, BundleForm(), _stored_result(request))
        form = BundleForm(request.POST, request.FILES)
        try:
            require_import_role(actor=actor)
            if form.is_valid() and request.POST.get("step") == "import":
                return HttpResponseRedirect(f"{request.path}?command={_imported(request, form)}")
            result = (
                bundle_preview(actor=actor, document=form.cleaned_data["document"], options=form.options)
                if form.is_valid()
                else None
            )
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        except PortalError as error:
            form.add_error(None, error_text(error))
            for problem in error.details.get("problems", [])[1:20]:
                form.add_error(None, problem_line(problem))
            result = None
        return self._import_page(request, form, result)

    def _import_page(self, request: HttpRequest, form: BundleForm, result: ImportResult | None) -> HttpResponse:
        context = self.page_context(
            request,
            "Import a bundle",
            form=form,
            result=result,
            rows=[{"item": item, "notes": result_notes(item)} for item in result.imported] if result else [],
            back=reverse("admin:workflows_definition_changelist"),
        )
        return TemplateResponse(request, "portal/bundle_import.html", context)


def _imported(request: HttpRequest, form: BundleForm) -> uuid.UUID:
    """Carry out the import and return the id of its row in the ledger."""
    done: list[uuid.UUID] = []

    def call() -> None:
        try:
            result = bundle_import(
                actor=actor_of(request),
                document=form.cleaned_data["document"],
                options=form.options,
                idempotency_key=key_of(request),
            )
        except CommandRepeated as repeated:
            done.append(repeated.command.id)
            return
        assert result.command is not None, "an import has a row in the ledger"
        done.append(result.command.id)

    once(call)
    return done[-1]


def _stored_result(request: HttpRequest) -> ImportResult | None:
    """Return the results of the import that the query names, from the ledger. Errors: Http404."""
    named = request.GET.get("command")
    if named is None:
        return None
    try:
        pk = uuid.UUID(named)
    except ValueError as error:
        raise Http404("There is no such import.") from error
    rows = Command.objects.filter(tenant_id=actor_of(request).tenant_id, id=pk, action=CommandAction.IMPORT)
    command = rows.first()
    if command is None:
        raise Http404("There is no such import.")
    return ImportResult([Imported(**item) for item in (command.details or {}).get("imported", [])], command=command)
