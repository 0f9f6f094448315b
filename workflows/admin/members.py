"""Pages of the members of a tenant, for administrators (docs/reference/administration.md#members)."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.administrators import AdministratorsAdmin
from workflows.admin.base import actor_of
from workflows.admin.form_keys import key_of
from workflows.admin.forms import ReasonForm
from workflows.errors import PermissionRefused
from workflows.models import TenantMembership
from workflows.selectors.people import ABSENT_DAYS, members_page
from workflows.services.members import member_remove, member_save, require_may_add, require_member_role
from workflows.statuses import CommandAction, Role

IN = {"class": "in"}
LIST = "admin:workflows_tenantmembership_changelist"


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=[("", "Choose a role"), *Role.choices], widget=forms.Select(attrs=IN))
    may_see_payloads = forms.BooleanField(
        required=False, help_text="A viewer sees no payloads of actions without this. The other roles see them."
    )


class MemberForm(RoleForm):
    username = forms.CharField(
        max_length=150,
        widget=forms.TextInput(attrs={**IN, "autocomplete": "off"}),
        help_text="Name of an existing account. Only superusers add accounts by name.",
    )
    field_order = ("username", "role", "may_see_payloads")


@admin.register(TenantMembership)
class MemberAdmin(AdministratorsAdmin):
    purpose = "manage members"
    require_role = staticmethod(require_member_role)

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.require_admin(request, CommandAction.SAVE_MEMBER)
        context, status = self.searched(
            request,
            "Members",
            members_page,
            {"absent": ABSENT_DAYS},
            days=ABSENT_DAYS,
            filter_chips="portal/_member_chips.html",
        )
        return TemplateResponse(request, "portal/member_list.html", context, status=status)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_admin(request, CommandAction.SAVE_MEMBER)
        try:
            require_may_add(actor=actor_of(request), is_attempt=request.method == "POST")
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        form = MemberForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and self._save(request, form, form.cleaned_data["username"]):
            return HttpResponseRedirect(reverse(LIST))
        context = self._context(request, "Add a member", form=form, button="Add the member", back=reverse(LIST))
        return TemplateResponse(request, "portal/one_form.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        what = request.POST.get("what", "")
        self.require_admin(request, CommandAction.REMOVE_MEMBER if what == "remove" else CommandAction.SAVE_MEMBER)
        member = self.get_object(request, object_id)
        if member is None:
            raise Http404(f"There is no member {object_id}.")
        username = member.user.get_username()
        initial = {"role": member.role, "may_see_payloads": member.may_see_payloads}
        form = RoleForm(request.POST if what == "save" else None, initial=initial)
        remove = ReasonForm(request.POST if what == "remove" else None)
        is_done = (what == "save" and form.is_valid() and self._save(request, form, username)) or (
            what == "remove" and remove.is_valid() and self._remove(request, remove, username)
        )
        if is_done:
            return HttpResponseRedirect(reverse(LIST))
        context = self._context(request, username, member=member, form=form, remove=remove)
        return TemplateResponse(request, "portal/member_page.html", context)

    def _save(self, request: HttpRequest, form: forms.Form, username: str) -> bool:
        role = Role(form.cleaned_data["role"])
        return self.was_done(
            request,
            form,
            lambda: member_save(
                actor=actor_of(request),
                username=username,
                role=role,
                may_see_payloads=form.cleaned_data["may_see_payloads"],
                idempotency_key=key_of(request),
            ),
            f"{username} has the role {role}.",
        )

    def _remove(self, request: HttpRequest, form: forms.Form, username: str) -> bool:
        reason = form.cleaned_data["reason"]
        return self.was_done(
            request,
            form,
            lambda: member_remove(
                actor=actor_of(request), username=username, reason=reason, idempotency_key=key_of(request)
            ),
            f"{username} is no longer a member. Tokens that this person created are revoked.",
        )

    def _context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        crumbs = [("Members", reverse(LIST)), (title, "")]
        return self.page_context(request, title, crumbs=crumbs, **more)
