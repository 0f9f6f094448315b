"""Page of signed exports of the command ledger (docs/reference/authority.md#signed-export)."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from workflows.admin.base import actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import ReasonForm, end_of_day, start_of_day
from workflows.errors import PermissionRefused, PortalError
from workflows.models import Command
from workflows.services.ledger_export import ledger_export_create, require_export_role
from workflows.statuses import CommandAction, Role

SHOWN_EXPORTS = 20
DAY = {"class": "in", "type": "date"}


class ExportForm(ReasonForm):
    first_day = forms.DateField(
        required=False, widget=forms.DateInput(attrs=DAY), help_text="In UTC. Empty: from the first entry."
    )
    last_day = forms.DateField(
        required=False, widget=forms.DateInput(attrs=DAY), help_text="In UTC. Empty: up to the last entry."
    )
    field_order = ("first_day", "last_day", "reason")

    def period(self) -> tuple[datetime | None, datetime | None]:
        """Return the times from which and before which the entries of the export were written."""
        return start_of_day(self.cleaned_data["first_day"]), end_of_day(self.cleaned_data["last_day"])


def export_page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Show the form and the latest exports with the links to their files. POST makes an export."""
    actor = actor_of(request)
    try:
        if request.method == "POST":
            require_export_role(actor=actor)
        actor.require(Role.ADMIN, to="export the ledger")
    except PermissionRefused as error:
        raise PermissionDenied(error.message) from error
    form = ExportForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        since, until = form.period()
        try:
            once(
                lambda: ledger_export_create(
                    actor=actor,
                    since=since,
                    until=until,
                    reason=form.cleaned_data["reason"],
                    idempotency_key=key_of(request),
                )
            )
            form = ExportForm()
        except PortalError as error:
            form.add_error(None, error_text(error))
    exports = Command.objects.filter(tenant_id=actor.tenant_id, action=CommandAction.EXPORT_LEDGER, code="")
    listing = reverse("admin:workflows_command_changelist")
    context = model_admin.page_context(
        request,
        "Export the ledger",
        crumbs=[("Command ledger", listing), ("Export", "")],
        form=form,
        exports=exports.order_by("-requested_at", "-id")[:SHOWN_EXPORTS],
    )
    return TemplateResponse(request, "portal/ledger_export.html", context)
