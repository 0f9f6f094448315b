"""Page on which an invited person joins a tenant (docs/reference/administration.md#invitations).

The code is behind the `#` of the link. A script sends it in the body of a POST. The session then stores its hash, so
that the person can sign in first. Loading the page uses up nothing, because mail scanners load links too.
"""

from typing import Any

from django.contrib.auth.forms import BaseUserCreationForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from portal.middleware import SESSION_TENANT
from workflows.errors import PortalError
from workflows.models import Invitation
from workflows.services.invitation_links import (
    account_exists,
    code_hash_of,
    invitation_accept,
    invitation_of_code_hash,
    require_own_account,
)

SESSION_INVITATION = "invitation"
MAX_CODE_LENGTH = 200
# Titles and HTTP statuses of the pages that say why a link cannot be used.
REFUSALS = {
    "INVITATION_UNKNOWN": ("This link is not known", 404),
    "INVITATION_EXPIRED": ("The invitation has expired", 410),
    "INVITATION_USED": ("The invitation was used before", 410),
    "INVITATION_REVOKED": ("The invitation was revoked", 410),
    "INVITATION_ATTEMPTS": ("Too many user names were tried", 410),
    "INVITATION_OTHER_ACCOUNT": ("The invitation is for another account", 403),
    "ALREADY_MEMBER": ("You are a member already", 409),
    "TENANT_CLOSED": ("The tenant is closed", 410),
}


class NewAccountForm(BaseUserCreationForm):
    """Name and password of a new account. Django's password validators check the password.

    The form does not check whether the name is free. `invitation_accept` does, and counts the names.
    """

    class Meta(BaseUserCreationForm.Meta):
        fields = ("username",)

    def __init__(self, *args: Any, email: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.instance.email = email  # a password must not be similar to the address
        for field in self.fields.values():
            field.widget.attrs["class"] = "in"

    def validate_unique(self) -> None:
        pass


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_view(request: HttpRequest) -> HttpResponse:
    """Show the invitation of the session and carry out the person's decision.

    POST fields: `what` is `open` with `code`, `join`, or `create` with the fields of a new account.
    """
    what = request.POST.get("what", "")
    if what == "open":
        code = request.POST.get("code", "").strip()[:MAX_CODE_LENGTH]
        request.session[SESSION_INVITATION] = code_hash_of(code)
        return HttpResponseRedirect(reverse("invitation"))
    code_hash = request.session.get(SESSION_INVITATION)
    if code_hash is None:
        return render(request, "portal/invitation_open.html")
    try:
        return _decide(request, what, code_hash)
    except PortalError as error:
        title, status = REFUSALS[error.code]
        if error.code != "INVITATION_OTHER_ACCOUNT":
            request.session.pop(SESSION_INVITATION, None)
        context = {"title": title, "error": error, "is_other": error.code == "INVITATION_OTHER_ACCOUNT"}
        return render(request, "portal/invitation_refused.html", context, status=status)


def _decide(request: HttpRequest, what: str, code_hash: str) -> HttpResponse:
    """Errors: the errors of `invitation_accept`."""
    invitation = invitation_of_code_hash(code_hash)
    if request.user.is_authenticated:
        require_own_account(invitation, request.user)
        if what != "join":
            return _page(request, invitation, step="join")
        invitation_accept(code_hash=code_hash, account=request.user)
        del request.session[SESSION_INVITATION]
        request.session[SESSION_TENANT] = str(invitation.tenant_id)
        return HttpResponseRedirect(reverse("admin:index"))
    if account_exists(invitation.email):
        return _page(request, invitation, step="sign-in")
    form = NewAccountForm(request.POST if what == "create" else None, email=invitation.email)
    if what != "create" or not form.is_valid():
        return _page(request, invitation, step="create", form=form)
    try:
        member = invitation_accept(code_hash=code_hash, account=form.save(commit=False))
    except PortalError as error:
        if error.code != "ACCOUNT_NAME_TAKEN":
            raise
        form.add_error("username", error.message)
        return _page(request, invitation, step="create", form=form)
    del request.session[SESSION_INVITATION]
    return _page(request, invitation, step="done", member=member)


def _page(request: HttpRequest, invitation: Invitation, **more: Any) -> HttpResponse:
    return render(request, "portal/invitation.html", {"invitation": invitation, **more})
