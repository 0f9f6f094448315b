"""Page of the audit log of sign-ins, for administrators (docs/reference/sign-in.md#audit-log)."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.base import TenantAdmin, actor_of
from workflows.errors import PermissionRefused, unknown_name
from workflows.models import SignInRecord
from workflows.selectors.keyset import POSITION_VAR, KeysetPage, keyset_page
from workflows.selectors.sign_ins import sign_ins, sign_ins_without_tenant
from workflows.sign_in_kinds import SignInKind
from workflows.statuses import Role

PARAMETERS = ("kind", "account", "of", POSITION_VAR)
UNKNOWN = "unknown"


@admin.register(SignInRecord)
class SignInAdmin(TenantAdmin):
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        actor = getattr(request, "actor", None)
        return actor is not None and actor.has_role(Role.ADMIN)

    has_module_permission = has_view_permission

    def get_urls(self) -> list[Any]:
        """Return the address of the list. A row has no page of its own."""
        return [path("", self.admin_site.admin_view(self.changelist_view), name="workflows_signinrecord_changelist")]

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the rows of the tenant. With `of=unknown`, show a superuser the rows without a tenant."""
        _require_admin(request)
        chosen = {name: request.GET.get(name, "").strip() for name in PARAMETERS}
        problem = _problem(request, chosen)
        page = KeysetPage([]) if problem else _page(request, chosen)
        context = self.page_context(
            request,
            "Sign-ins",
            page=page,
            rows=page.rows,
            problem=problem,
            kinds=SignInKind.choices,
            chosen=chosen,
            is_of_unknown=chosen["of"] == UNKNOWN,
            may_see_unknown=request.user.is_superuser,
        )
        return TemplateResponse(request, "portal/sign_in_list.html", context, status=400 if problem else 200)


def _require_admin(request: HttpRequest) -> None:
    try:
        actor_of(request).require(Role.ADMIN, to="see sign-ins")
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error


def _problem(request: HttpRequest, chosen: dict[str, str]) -> str:
    """Return the reason why the list cannot be shown, or an empty text."""
    for name in request.GET:
        if name not in PARAMETERS:
            return f"The list shows no rows. {unknown_name(name, PARAMETERS, kind='filter')}"
    if any("\x00" in str(value) for value in chosen.values()):
        return "The list shows no rows, because a filter contains a NUL character. Remove the character."
    if chosen["kind"] and chosen["kind"] not in SignInKind.values:
        return f"The list shows no rows. {unknown_name(chosen['kind'], SignInKind.values, kind='kind')}"
    if chosen["of"] and (chosen["of"] != UNKNOWN or not request.user.is_superuser):
        return "The list shows no rows. Only superusers see sign-ins of names and accounts without a tenant."
    return ""


def _page(request: HttpRequest, chosen: dict[str, str]) -> KeysetPage:
    is_of_unknown = chosen["of"] == UNKNOWN
    rows = sign_ins(
        tenant_id=None if is_of_unknown else actor_of(request).tenant_id,
        kind=SignInKind(chosen["kind"]) if chosen["kind"] else None,
        account=chosen["account"],
    )
    position = chosen[POSITION_VAR]
    if is_of_unknown:
        return sign_ins_without_tenant(rows, superuser_id=str(request.user.pk), at=position)
    return keyset_page(rows, at=position)
