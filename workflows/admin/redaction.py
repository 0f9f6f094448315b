"""Page of the tenant's redaction rules. It shows one rule per line."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.errors import PermissionRefused, PortalError
from workflows.redaction import BUILT_IN
from workflows.services.redaction_rules import redaction_rules_of, redaction_rules_save


class RulesForm(forms.Form):
    rules = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "spellcheck": "false", "class": "pm-code"}),
        help_text="One rule per line. A rule is a path or a key pattern. A path, such as /payload/card/number, starts"
        " with /payload, /vars, /meta, /input, /output, /error, /contextData or /response. In a path, * stands for any"
        " key or index."
        " A key pattern, such as *iban*, applies to every path.",
    )

    def clean_rules(self) -> list[str]:
        return [line.strip() for line in str(self.cleaned_data["rules"]).splitlines() if line.strip()]


def redaction_page(admin: TenantAdmin, request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    form = RulesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            rules, key = form.cleaned_data["rules"], key_of(request)
            once(lambda: redaction_rules_save(actor=actor, rules=rules, idempotency_key=key))
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        except PortalError as error:
            form.add_error("rules", error_text(error))
        else:
            messages.success(request, "The rules are saved. They apply from now on, also to stored data.")
            return HttpResponseRedirect(reverse("admin:workflows_secret_redaction"))
    try:
        stored = redaction_rules_of(actor=actor)
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error
    form.initial = {"rules": "\n".join(stored)}
    context: dict[str, Any] = admin.page_context(
        request,
        "Redaction",
        form=form,
        back=reverse("admin:index"),
        button="Save the rules",
        note="Values that match a rule are shown as [redacted] on every page and in every response, for every role."
        f" Values of these keys are always redacted: {', '.join(BUILT_IN)}.",
    )
    return TemplateResponse(request, "portal/form_page.html", context)
