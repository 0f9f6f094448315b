"""Rows that authors write down: a page to add, to change and to delete each, whose forms call the services."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.errors import PermissionRefused, PortalError
from workflows.statuses import Role


class AuthorPages(TenantAdmin):
    """Everybody reads, authors write. A subclass names its template and says what a form means."""

    page_template: str
    list_title: str

    def form_for(self, actor: Actor, row: Any, data: Any) -> forms.Form:
        """The form of a new row (`row` is None) or of one that is there."""
        raise NotImplementedError

    def saved(self, actor: Actor, row: Any, fields: dict[str, Any]) -> tuple[Any, list[str]]:
        """The row that a service has written, and what its author should know. Errors: PortalError."""
        raise NotImplementedError

    def deleted(self, actor: Actor, row: Any) -> None:
        raise NotImplementedError

    def place_of(self, problem: dict[str, str]) -> tuple[str | None, str]:
        """The form's field that a problem of the service belongs to, and its words."""
        raise NotImplementedError

    def facts(self, actor: Actor, row: Any) -> dict[str, Any]:
        return {}

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": self.list_title, **(extra_context or {})})

    def has_add_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).has_role(Role.AUTHOR)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST" and not self.has_add_permission(request):
            raise PermissionDenied(f"adding one needs the role {Role.AUTHOR}")
        return self._written(request, None, f"Add {self.opts.verbose_name}")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self._found(request, object_id)
        return self._written(request, row, str(row))

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row, actor = self._found(request, object_id), actor_of(request)
        refusal = ""
        if request.method == "POST":
            try:
                self.deleted(actor, row)
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                refusal = f"{error.code}: {error.message}"
            else:
                messages.success(request, f"{row} is deleted.")
                return HttpResponseRedirect(self._list())
        return self._page(request, row, f"Delete {row}?", is_deleting=True, refusal=refusal)

    def _written(self, request: HttpRequest, row: Any, title: str) -> HttpResponse:
        actor = actor_of(request)
        form = self.form_for(actor, row, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                written, warnings = self.saved(actor, row, form.cleaned_data)
            except PermissionRefused as error:
                raise PermissionDenied(error.message) from error
            except PortalError as error:
                self._tell(form, error)
            else:
                messages.success(request, f"{written} is saved, and counts from now on.")
                for warning in warnings[:5]:
                    messages.warning(request, warning)
                return HttpResponseRedirect(self._list() if row is None else request.path)
        return self._page(request, row, title, form=form)

    def _page(self, request: HttpRequest, row: Any, title: str, **more: Any) -> HttpResponse:
        actor = actor_of(request)
        facts = self.facts(actor, row) if row is not None else {}
        context = self.page_context(
            request, title, row=row, may_write=actor.has_role(Role.AUTHOR), back=self._list(), list_title=self.list_title,
            **facts, **more,
        )  # fmt: skip
        return TemplateResponse(request, self.page_template, context)

    def _tell(self, form: forms.Form, error: PortalError) -> None:
        problems = error.details.get("problems") or []
        for problem in problems:
            field, words = self.place_of(problem)
            form.add_error(field if field in form.fields else None, words)
        if not problems:
            form.add_error(None, f"{error.code}: {error.message}")

    def _found(self, request: HttpRequest, pk: str) -> Any:
        row = self.get_object(request, pk)
        if row is None:
            raise Http404("there is no such row")
        return row

    def _list(self) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
