"""Admin pages on which authors add, change and delete their rows. The forms call the services."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.actors import Actor
from workflows.admin.base import ROW_LIST, TenantAdmin, actor_of, error_text, role_problem
from workflows.admin.form_keys import key_of, once, was_done
from workflows.errors import PermissionRefused, PortalError
from workflows.statuses import Role


class AuthorPages(TenantAdmin):
    """Base class of these pages. Every member may read. Members with `writer_role` may write.

    A subclass defines the template and the methods below.
    """

    change_list_template = ROW_LIST
    page_template: str
    list_title: str
    writer_role: Role = Role.AUTHOR

    def form_for(self, actor: Actor, row: Any, data: Any) -> forms.Form:
        """Return the form for a row. If `row` is None, return the form for a new row."""
        raise NotImplementedError

    def save_row(self, actor: Actor, row: Any, fields: dict[str, Any], key: str) -> tuple[Any, list[str]]:
        """Call the service that saves the row, with the form's idempotency key.

        Return the saved row and warnings for the author.

        Errors: PortalError.
        """
        raise NotImplementedError

    def delete_row(self, actor: Actor, row: Any, key: str) -> None:
        """Call the service that deletes the row, with the form's idempotency key. Errors: PortalError."""
        raise NotImplementedError

    def field_error(self, problem: dict[str, str]) -> tuple[str | None, str]:
        """Return the form field and the message for a problem that the service reported."""
        raise NotImplementedError

    def row_context(self, actor: Actor, row: Any) -> dict[str, Any]:
        """Return the template variables that are needed only for an existing row."""
        return {}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": self.list_title, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).has_role(self.writer_role)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST" and not self.has_add_permission(request):
            raise PermissionDenied(f"You need the role {self.writer_role} to add this.")
        return self._form_page(request, None, f"Add {self.opts.verbose_name}")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self._get_or_404(request, object_id)
        return self._form_page(request, row, str(row))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if was_done(request):  # an earlier click has deleted the row
            return HttpResponseRedirect(self._list_url())
        row, actor = self._get_or_404(request, object_id), actor_of(request)
        why_not = role_problem(actor, self.writer_role, to=f"delete {self.opts.verbose_name_plural}")
        if why_not and request.method != "POST":
            back = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[row.pk])
            context = self.page_context(request, f"Delete {row}?", why_not=why_not, back=back)
            return TemplateResponse(request, "portal/form_page.html", context)
        refusal = ""
        if request.method == "POST":
            try:
                once(lambda: self.delete_row(actor, row, key_of(request)))
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                refusal = error_text(error)
            else:
                messages.success(request, f"{row} is deleted.")
                return HttpResponseRedirect(self._list_url())
        return self._page(request, row, f"Delete {row}?", is_deleting=True, refusal=refusal)

    def _form_page(self, request: HttpRequest, row: Any, title: str) -> HttpResponse:
        actor = actor_of(request)
        if request.method == "POST" and row is None and was_done(request):
            messages.success(request, f"The {self.opts.verbose_name} is saved. The change applies from now on.")
            return HttpResponseRedirect(self._list_url())
        form = self.form_for(actor, row, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                result = once(lambda: self.save_row(actor, row, form.cleaned_data, key_of(request)))
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                self.add_errors(form, error)
            else:
                saved, warnings = result or (row or self.opts.verbose_name.capitalize(), [])
                messages.success(request, f"{saved} is saved. The change applies from now on.")
                for warning in warnings[:5]:
                    messages.warning(request, warning)
                return HttpResponseRedirect(self._list_url() if row is None else request.path)
        return self._page(request, row, title, form=form)

    def _page(self, request: HttpRequest, row: Any, title: str, **more: Any) -> HttpResponse:
        actor = actor_of(request)
        row_context = self.row_context(actor, row) if row is not None else {}
        context = self.page_context(
            request,
            title,
            row=row,
            may_write=actor.has_role(self.writer_role),
            back=self._list_url(),
            list_title=self.list_title,
            **row_context,
            **more,
        )
        return TemplateResponse(request, self.page_template, context)

    def add_errors(self, form: forms.Form, error: PortalError) -> None:
        """Show the error of a service in the form, beside its fields if possible."""
        problems = error.details.get("problems") or []
        for problem in problems:
            field, message = self.field_error(problem)
            form.add_error(field if field in form.fields else None, message)
        if not problems:
            form.add_error(None, error_text(error))

    def _get_or_404(self, request: HttpRequest, pk: str) -> Any:
        row = self.get_object(request, pk)
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} with the id {pk}.")
        return row

    def _list_url(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
