"""The page that sends one event. A wait or a stored event fills the form, and a check shows the effect first.

Source: docs/reference/events.md#send-an-event
"""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from ingress.admin.stored_events import restored_envelope, shown_envelope, stored_event
from ingress.admin.what_if import checked_filters, json_area, result_context
from ingress.explain.form_values import about_type, catalogued_type, empty_payload, payload_text
from ingress.explain.skeleton import with_key
from ingress.explain.what_if import event_what_if
from ingress.intake.receive import event_receive
from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of, error_text
from workflows.admin.form_keys import key_of, once
from workflows.admin.forms import JsonObjectField
from workflows.errors import PortalError
from workflows.ledger import command_failures_recorded, command_finish
from workflows.models import EventType, RunWait
from workflows.redaction import rules_of
from workflows.services.idempotency import command_request
from workflows.statuses import CommandAction, CommandState, EventSource, Role

ENVELOPE = ("event_type", "payload", "workflow_correlation_key", "event_id")
CHECK = "check"


class SendEventForm(forms.Form):
    """Form of one event. `stored` is the id of the event that filled the form."""

    stored = forms.CharField(required=False, widget=forms.HiddenInput())
    event_type = forms.CharField(
        max_length=200, widget=forms.TextInput(attrs={"class": "in mono", "list": "event-types", "spellcheck": "false"})
    )
    workflow_correlation_key = forms.CharField(
        label="Correlation key",
        required=False,
        max_length=1000,
        widget=forms.TextInput(attrs={"class": "in mono", "spellcheck": "false"}),
        help_text="Leave empty to find the key in the payload with the paths of the event catalogue.",
    )
    payload = JsonObjectField(initial="{}", widget=json_area())
    event_id = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"class": "in mono", "spellcheck": "false"}),
        help_text="Leave empty for a new id.",
    )
    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs={"class": "in"}),
        help_text="Stored in the command ledger.",
    )

    def envelope(self, actor: Actor) -> dict[str, Any]:
        """Return the event of a valid form, as a sender sends it."""
        value = {name: self.cleaned_data[name] for name in ENVELOPE if self.cleaned_data[name] != ""}
        return restored_envelope(actor, value, self.cleaned_data["stored"])


class SendEventViews(TenantAdmin):
    """View of `EventAdmin` that sends one event."""

    def send_urls(self) -> list[URLPattern]:
        return [path("send/", self.admin_site.admin_view(self.send_view), name="workflows_event_send")]

    def send_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form on GET. On POST, check the event or send it. Then show the page of the event."""
        actor = actor_of(request)
        may_send = actor.has_role(Role.OPERATOR)
        wait = _wait(actor, request.GET.get("wait", "")) if may_send else None
        initial = _initial(actor, request, wait) if may_send else {}
        form, result, payload = SendEventForm(request.POST or None, initial=initial), None, None
        if request.method == "POST" and form.is_valid():
            if request.POST.get("do") == CHECK and may_send:
                value = form.envelope(actor)
                result, payload = event_what_if(actor=actor, value=value), value["payload"]
            else:
                try:
                    event_id = once(lambda: _send(actor, form, key_of(request)))
                except PortalError as error:
                    form.add_error(NON_FIELD_ERRORS, error_text(error))
                else:
                    messages.info(request, "The event is stored. This page shows its outcome.")
                    return HttpResponseRedirect(reverse("admin:workflows_event_change", args=[event_id]))
        name = request.POST.get("event_type", "") or initial.get("event_type", "")
        context = self.page_context(
            request,
            "Send an event",
            form=form,
            may_send=may_send,
            **result_context(actor, result, payload),
            is_checked=result is not None and not result["answer"]["code"],
            wait=wait,
            filters=checked_filters(actor, wait.filters, payload) if wait else [],
            event_types=EventType.objects.filter(tenant_id=actor.tenant_id, is_active=True).order_by("name"),
            about=about_type(name, catalogued_type(actor, name)),
        )
        return TemplateResponse(request, "portal/event_send.html", context)


def _initial(actor: Actor, request: HttpRequest, wait: RunWait | None) -> dict[str, Any]:
    """Return the values of the form from a stored event, a wait, or the other parameters of the address."""
    stored, key = stored_event(actor, request.GET.get("event", "")), request.GET.get("key", "")
    initial: dict[str, Any] = {"event_type": request.GET.get("event_type", ""), "payload": "{}"}
    if stored is not None:
        shown = shown_envelope(actor, stored)
        initial |= {name: shown[name] for name in ENVELOPE if name in shown} | {"stored": str(stored.id)}
        if key:
            entry, replaces = catalogued_type(actor, stored.event_type), request.GET.get("replaces", "")
            paths = (entry and entry.correlation_paths) or ()
            with_key(shown["payload"], stored.correlation_trace, key, replaces=replaces, paths=paths)
        initial["payload"] = payload_text(shown["payload"])
    elif wait is not None:
        initial |= {"event_type": wait.event_name, "workflow_correlation_key": wait.correlation_key}
    if stored is None and initial["event_type"]:
        entry, rules = catalogued_type(actor, initial["event_type"]), rules_of(actor.tenant_id)
        initial["payload"] = payload_text(empty_payload(actor, entry, wait, rules))
    for parameter, name in (("event_type", "event_type"), ("key", "workflow_correlation_key")):
        if request.GET.get(parameter):
            initial[name] = request.GET[parameter]
    return initial


def _wait(actor: Actor, wait_pk: str) -> RunWait | None:
    if not wait_pk:
        return None
    try:
        waits = RunWait.objects.filter(tenant_id=actor.tenant_id, id=uuid.UUID(wait_pk)).exclude(event_name="")
        wait = waits.select_related("run__definition").first()
    except ValueError:
        wait = None
    if wait is None:
        raise Http404(f"There is no wait {wait_pk} for an event.")
    return wait


def _send(actor: Actor, form: SendEventForm, key: str) -> str:
    """Send an event through the same intake as the entry points. Record the command in the ledger.

    Return the id of the event's row.
    """
    fields = form.cleaned_data
    asked = command_request(
        actor=actor,
        action=CommandAction.SEND_EVENT,
        target_type="event",
        target_id=fields["event_type"],
        reason=fields["reason"],
        payload={name: value for name, value in fields.items() if name not in ("payload", "reason")},
        idempotency_key=key,
        also_hashed=fields["payload"],
    )
    command = asked.command
    if not asked.is_new:
        return str((command.details or {})["id"])
    # This is not a transaction. A rejected event must stay stored, although the request fails.
    with command_failures_recorded([command]):
        actor.require(Role.OPERATOR, to="send events")
        value = form.envelope(actor)
        receipt = event_receive(tenant_id=actor.tenant_id, value=value, source=EventSource.ADMIN, sender=actor)
    details = {"eventId": receipt.event.event_id, "id": str(receipt.event.id)}
    command_finish(command, CommandState.OBSERVED, details=details)
    return str(receipt.event.id)
