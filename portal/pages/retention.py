"""Page "Retention": the periods of the tenant, its legal holds, the last deletions (docs/reference/retention.md)."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.actors import Actor
from workflows.admin.base import actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.errors import PermissionRefused, PortalError
from workflows.selectors.retention import retention_facts
from workflows.services.retention.policy import (
    LEAST,
    MOST,
    RetentionPolicy,
    require_retention_role,
    retention_policy_find,
    retention_policy_save,
)

LABELS = {
    "runs": "Closed runs",
    "events": "Events",
    "notifications": "Notifications",
    "ledger": "Command ledger",
    "sign_ins": "Sign-ins",
}
HELP = {
    "runs": "With their steps, waits, tasks, logs and deliveries. Counted from the end of the run.",
    "events": "An event stays as long as a run that it started or continued.",
    "notifications": "Messages in the portal.",
    "ledger": "At least as long as runs. A checkpoint keeps the rest verifiable.",
    "sign_ins": "The audit log of sign-ins and of changed passwords.",
}


class PeriodsForm(forms.Form):
    """Days for each part of the policy, and the reason of the change.

    `confirmed` has the days whose numbers of old rows the page has shown. `preview` has these numbers by label.
    """

    confirmed = forms.CharField(required=False, widget=forms.HiddenInput)
    preview: dict[str, str] | None = None

    reason = forms.CharField(
        required=False, max_length=2000, help_text="Stored in the command ledger.",
        widget=forms.TextInput(attrs={"class": "in"}),
    )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, label in LABELS.items():
            self.fields[name] = forms.IntegerField(
                label=f"{label} (days)",
                min_value=LEAST[name],
                max_value=MOST,
                help_text=f"{HELP[name]} At least {LEAST[name]} days.",
                widget=forms.NumberInput(attrs={"class": "in"}),
            )
        self.order_fields([*LABELS, "reason"])


def retention_view(request: HttpRequest) -> HttpResponse:
    """Show the page. A POST saves the periods. Only administrators of the tenant may open it."""
    from django.contrib import admin  # the site does not exist yet when its URLs are built

    actor = actor_of(request)
    form = PeriodsForm(request.POST or None)
    try:
        if request.method == "POST" and _save(request, actor, form):
            messages.success(request, "The periods are saved. The next deletion uses them.")
            return HttpResponseRedirect(reverse("admin:retention"))
        policy = retention_policy_find(actor=actor)
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error
    form.initial = policy.as_json()
    context = {
        **admin.site.each_context(request),
        "title": "Retention",
        "form": form,
        "facts": retention_facts(tenant_id=actor.tenant_id, ledger_before=policy.before()["ledger"]),
    }
    return TemplateResponse(request, "portal/retention.html", context)


def _save(request: HttpRequest, actor: Actor, form: PeriodsForm) -> bool:
    """Return True if the periods are saved. Otherwise the form has the errors, or the numbers to be confirmed."""
    require_retention_role(actor=actor)
    if not form.is_valid():
        return False
    policy = RetentionPolicy(**{name: form.cleaned_data[name] for name in LABELS})
    reason, key = form.cleaned_data["reason"], key_of(request)
    days = ",".join(str(value) for value in policy.as_json().values())
    is_confirmed = form.cleaned_data["confirmed"] == days
    try:
        once(
            lambda: retention_policy_save(
                actor=actor, policy=policy, is_confirmed=is_confirmed, reason=reason, idempotency_key=key
            )
        )
    except PermissionRefused:
        raise
    except PortalError as error:
        if error.code == "RETENTION_NOT_CONFIRMED":
            form.preview = {
                LABELS[name]: f"{count} older than {getattr(policy, name)} days"
                for name, count in error.details["older"].items()
            }
            form.data = {**dict(form.data.items()), "confirmed": days}
            return False
        for name, texts in error.details.get("fields", {None: [error_text(error)]}).items():
            form.add_error(name, texts)
        return False
    return True
