"""Base of the pages that only administrators of the tenant may open: tokens, members, invitations, secrets."""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import once
from workflows.errors import PermissionRefused, PortalError, unknown_name
from workflows.selectors.keyset import KeysetPage
from workflows.statuses import Role

SEARCH_PARAMETERS = ("q", "at")


class AdministratorsAdmin(TenantAdmin):
    """Admin of rows that only the role admin may see.

    `purpose`: the words after "may not" in a refusal, for example `manage tokens`. `require_role`: the check of the
    service, which records a refused POST in the command ledger.
    """

    purpose: str
    require_role: Any

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        actor = getattr(request, "actor", None)
        return actor is not None and actor.has_role(Role.ADMIN)

    has_add_permission = has_view_permission

    def searched(
        self,
        request: HttpRequest,
        title: str,
        read: Callable[..., KeysetPage],
        filters: Mapping[str, tuple[str, ...]] | None = None,
        **more: Any,
    ) -> tuple[dict[str, Any], int]:
        """Return the context and the status of a list with a search. `read` returns one page of rows.

        Parameters of the address: `q`, the text of the search; `at`, the position of the page; `filters`, with the
        values that each of them may have. `read` gets the filters that are given.
        """
        filters = filters or {}
        known = (*SEARCH_PARAMETERS, *filters)
        search, at = (request.GET.get(name, "").strip() for name in SEARCH_PARAMETERS)
        chosen = {name: request.GET[name] for name in filters if request.GET.get(name)}
        unknown = next((name for name in request.GET if name not in known), None)
        wrong = next((name for name, value in chosen.items() if value not in filters[name]), None)
        problem = ""
        if unknown is not None:
            problem = f"The list shows no rows. {unknown_name(unknown, known, kind='filter')}"
        elif wrong is not None:
            problem = f"The list shows no rows, because {wrong} can only be {' or '.join(filters[wrong])}. Correct it."
        elif "\x00" in search + at:
            problem = "The list shows no rows, because a filter contains a NUL character. Remove the character."
        tenant_id = actor_of(request).tenant_id
        page = KeysetPage([]) if problem else read(tenant_id=tenant_id, search=search, at=at, **chosen)
        context = self.page_context(
            request,
            title,
            rows=page.rows,
            search=search,
            chosen=chosen,
            problem=problem,
            page=page,
            **more,
        )
        return context, 400 if problem else 200

    def require_admin(self, request: HttpRequest, action: Any, **target: str) -> None:
        """Refuse a member without the role admin. `target`: what the check of the service needs besides the actor.

        Errors: PermissionDenied. An administrator of the tenant can give the role.
        """
        actor = actor_of(request)
        if actor.has_role(Role.ADMIN):
            return
        try:
            if request.method == "POST":
                type(self).require_role(actor=actor, action=action, **target)
            actor.require(Role.ADMIN, to=self.purpose)
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error

    def was_done(self, request: HttpRequest, form: forms.Form, call: Callable[[], object], text: str) -> bool:
        """Call a service with the key of the form and show `text`. Return False after an error. The form has it."""
        try:
            once(call)
        except PortalError as error:
            form.add_error(None, error_text(error))
            return False
        messages.success(request, text)
        return True
