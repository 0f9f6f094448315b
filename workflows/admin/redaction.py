"""The tenant's redaction rules, one a line."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextareaWidget

from workflows.admin.base import TenantAdmin, actor_of
from workflows.errors import PermissionRefused, PortalError
from workflows.redaction import BUILT_IN
from workflows.services.redaction_rules import redaction_rules_of, redaction_rules_save


class RulesForm(forms.Form):
    rules = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 10, "spellcheck": "false", "class": "pm-code"}),
        help_text="One a line: a place such as /payload/card/number (* is any key or index; places begin with /payload,"
        " /input, /output, /error, /contextData or /response), or a pattern of keys such as *iban*.",
    )

    def clean_rules(self) -> list[str]:
        return [line.strip() for line in str(self.cleaned_data["rules"]).splitlines() if line.strip()]


def redaction_page(admin: TenantAdmin, request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    form = RulesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            redaction_rules_save(actor=actor, rules=form.cleaned_data["rules"])
        except PermissionRefused as error:
            raise PermissionDenied(error.message) from error
        except PortalError as error:
            form.add_error("rules", f"{error.code}: {error.message}")
        else:
            messages.success(request, "The rules hold from now on, for what was stored before too.")
            return HttpResponseRedirect(reverse("admin:workflows_secret_redaction"))
    try:
        stored = redaction_rules_of(actor=actor)
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error
    form.initial = {"rules": "\n".join(stored)}
    context: dict[str, Any] = admin.page_context(
        request, "Redaction", form=form, back=reverse("admin:index"), button="Save the rules",
        note="What the rules name is shown as [redacted], on every page and in every answer, to everybody. Always hidden are"
        f" values under {', '.join(BUILT_IN)}.",
    )  # fmt: skip
    return TemplateResponse(request, "portal/form_page.html", context)
