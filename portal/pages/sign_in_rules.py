"""Page "Sign-in rules" of a tenant, for its administrators (docs/reference/sign-in.md#second-factors)."""

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.admin.base import actor_of
from workflows.admin.form_keys import key_of, once
from workflows.errors import PermissionRefused
from workflows.services.sign_in_rules import require_rules_role, second_factor_is_required, second_factor_require


class RulesForm(forms.Form):
    is_required = forms.BooleanField(
        required=False,
        label="Members need a second factor",
        help_text="A member without one sets up an authenticator app or a passkey before anything else. You too."
        " API tokens are not affected.",
    )
    reason = forms.CharField(
        required=False, max_length=2000, help_text="Stored in the command ledger.",
        widget=forms.TextInput(attrs={"class": "in"}),
    )  # fmt: skip


def sign_in_rules_view(request: HttpRequest) -> HttpResponse:
    """Show the page. A POST saves the rules."""
    from django.contrib import admin  # the site does not exist yet when its URLs are built

    actor, form = actor_of(request), RulesForm(request.POST or None)
    try:
        if request.method == "POST":
            require_rules_role(actor=actor)
        if request.method == "POST" and form.is_valid():
            given, key = form.cleaned_data, key_of(request)
            once(
                lambda: second_factor_require(
                    actor=actor, is_required=given["is_required"], reason=given["reason"], idempotency_key=key
                )
            )
            messages.success(request, "The rules of sign-in are saved. They apply to the next request of each member.")
            return HttpResponseRedirect(reverse("admin:sign_in_rules"))
        form.initial = {"is_required": second_factor_is_required(actor=actor)}
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error
    context = {
        **admin.site.each_context(request),
        "title": "Sign-in rules",
        "form": form,
        "button": "Save the rules",
        "back": reverse("admin:index"),
    }
    return TemplateResponse(request, "portal/one_form.html", context)
