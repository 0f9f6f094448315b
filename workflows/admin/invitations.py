"""Pages of invitations, for administrators (docs/reference/administration.md#invitations)."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from workflows.admin.administrators import AdministratorsAdmin
from workflows.admin.base import actor_of
from workflows.admin.form_keys import key_of
from workflows.admin.forms import ReasonForm
from workflows.admin.members import IN
from workflows.models import Invitation
from workflows.selectors.people import invitations_page
from workflows.services.invitations import (
    invitation_create,
    invitation_resend,
    invitation_revoke,
    require_invitation_role,
)
from workflows.statuses import CommandAction, Role

LIST = "admin:workflows_invitation_changelist"
MEMBERS = "admin:workflows_tenantmembership_changelist"


class InvitationForm(forms.Form):
    email = forms.CharField(
        max_length=254,
        label="E-mail address",
        widget=forms.EmailInput(attrs={**IN, "autocomplete": "off"}),
        help_text="The person gets an e-mail with a link that can be used once.",
    )
    role = forms.ChoiceField(choices=[("", "Choose a role"), *Role.choices], widget=forms.Select(attrs=IN))


@admin.register(Invitation)
class InvitationAdmin(AdministratorsAdmin):
    purpose = "manage invitations"
    require_role = staticmethod(require_invitation_role)

    @method_decorator(require_safe)
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        self.require_admin(request, CommandAction.INVITE_MEMBER)
        crumbs = [("Members", reverse(MEMBERS)), ("Invitations", "")]
        context, status = self.searched(request, "Invitations", invitations_page, crumbs=crumbs, now=timezone.now())
        return TemplateResponse(request, "portal/invitation_list.html", context, status=status)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_admin(request, CommandAction.INVITE_MEMBER)
        form = InvitationForm(request.POST or None)
        if request.method == "POST" and form.is_valid() and self._invite(request, form):
            return HttpResponseRedirect(reverse(LIST))
        title = "Invite by e-mail"
        context = self._context(request, title, form=form, button="Send the invitation", back=reverse(LIST))
        return TemplateResponse(request, "portal/one_form.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        what = request.POST.get("what", "")
        is_revoke = what == "revoke"
        action = CommandAction.REVOKE_INVITATION if is_revoke else CommandAction.RESEND_INVITATION
        self.require_admin(request, action)
        invitation = self.get_object(request, object_id)
        if invitation is None:
            raise Http404(f"There is no invitation {object_id}.")
        resend = forms.Form(request.POST if what == "resend" else None)
        revoke = ReasonForm(request.POST if is_revoke else None)
        is_done = (what == "resend" and resend.is_valid() and self._resend(request, resend, invitation)) or (
            is_revoke and revoke.is_valid() and self._revoke(request, revoke, invitation)
        )
        if is_done:
            return HttpResponseRedirect(reverse(LIST))
        context = self._context(
            request, invitation.email, invitation=invitation, resend=resend, revoke=revoke, now=timezone.now()
        )
        return TemplateResponse(request, "portal/invitation_page.html", context)

    def _invite(self, request: HttpRequest, form: InvitationForm) -> bool:
        email, role = form.cleaned_data["email"], Role(form.cleaned_data["role"])
        return self.was_done(
            request,
            form,
            lambda: invitation_create(actor=actor_of(request), email=email, role=role, idempotency_key=key_of(request)),
            f"The e-mail to {email} was sent.",
        )

    def _resend(self, request: HttpRequest, form: forms.Form, invitation: Invitation) -> bool:
        return self.was_done(
            request,
            form,
            lambda: invitation_resend(
                actor=actor_of(request), invitation_id=invitation.id, idempotency_key=key_of(request)
            ),
            f"A new e-mail to {invitation.email} was sent. The link of the earlier e-mail has ended.",
        )

    def _revoke(self, request: HttpRequest, form: ReasonForm, invitation: Invitation) -> bool:
        return self.was_done(
            request,
            form,
            lambda: invitation_revoke(
                actor=actor_of(request),
                invitation_id=invitation.id,
                reason=form.cleaned_data["reason"],
                idempotency_key=key_of(request),
            ),
            f"The invitation of {invitation.email} is revoked.",
        )

    def _context(self, request: HttpRequest, title: str, **more: Any) -> dict[str, Any]:
        crumbs = [("Members", reverse(MEMBERS)), ("Invitations", reverse(LIST)), (title, "")]
        return self.page_context(request, title, crumbs=crumbs, **more)
