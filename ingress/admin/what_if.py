"""Pages for "what if". They change nothing.

The forms are sent with POST, because a payload must not be part of a URL.
"""

import json
import uuid
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from ingress.explain.what_if import event_what_if
from ingress.explain.what_if_correlation import MAX_EVENTS, correlation_what_if
from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import JsonObjectField
from workflows.errors import PortalError
from workflows.json_numbers import write_json
from workflows.models import Event, EventType
from workflows.redaction import redact, restored, rules_of
from workflows.statuses import Role

EXAMPLE = {"event_type": "", "payload": {}}


class EventWhatIfForm(forms.Form):
    """Form for the what-if check of one event.

    `stored` is the id of the stored event with which the form was filled. Its values replace the redacted values of the
    form.
    """

    stored = forms.CharField(required=False, widget=forms.HiddenInput())
    event = JsonObjectField(
        help_text="The event as an application would send it: event_type, payload and the optional fields."
    )


class CorrelationWhatIfForm(forms.Form):
    paths = JsonObjectField(
        label="Correlation paths",
        help_text="The complete catalogue after the change. Each event type, or * for all types, has a dotted path or a"
        " list of paths.",
    )
    last = forms.IntegerField(
        label="Number of latest events",
        initial=1000,
        min_value=1,
        max_value=MAX_EVENTS,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


class WhatIfViews(TenantAdmin):
    """Views of `EventAdmin` for what-if checks."""

    def what_if_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("what-if/", wrap(self.what_if_view), name="workflows_event_what_if"),
            path("what-if/correlation/", wrap(self.correlation_view), name="workflows_event_what_if_correlation"),
        ]

    def what_if_view(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        may_ask = actor.has_role(Role.OPERATOR)
        stored = _stored(actor, request.GET.get("event", "")) if may_ask else None
        start = _shown(actor, stored) if stored else EXAMPLE
        initial = {"event": _text(start), "stored": stored.id if stored else ""}
        form = EventWhatIfForm(request.POST or None, initial=initial)
        result = None
        if request.method == "POST":
            _require_operator(may_ask)
            if form.is_valid():
                result = event_what_if(actor=actor, value=_unredacted(actor, form.cleaned_data))
        context = self.page_context(
            request, "What if this event arrived now?", form=form, result=result, tone=_tone(result), may_ask=may_ask
        )
        return TemplateResponse(request, "portal/what_if_event.html", context)

    def correlation_view(self, request: HttpRequest) -> HttpResponse:
        actor = actor_of(request)
        may_ask = actor.has_role(Role.OPERATOR)
        form = CorrelationWhatIfForm(request.POST or None, initial={"paths": _catalogue(actor) if may_ask else "{}"})
        result = None
        if request.method == "POST":
            _require_operator(may_ask)
            if form.is_valid():
                try:
                    result = correlation_what_if(tenant_id=actor.tenant_id, **form.cleaned_data)
                except PortalError as error:
                    form.add_error("paths", error.message)
        context = self.page_context(
            request, "What if the correlation paths changed?", form=form, result=result, may_ask=may_ask
        )
        return TemplateResponse(request, "portal/what_if_correlation.html", context)


def _require_operator(may_ask: bool) -> None:
    if not may_ask:
        raise PermissionDenied(f"You need the role {Role.OPERATOR}, because the result contains payload values.")


def _tone(result: dict[str, Any] | None) -> str:
    """Return the label type that gives the result panel its colour."""
    if not result:
        return "default"
    if result["answer"].get("code"):
        return "danger"
    if not result.get("outcome"):
        return "default"
    return "info" if result["waits"] or result["triggers"] else "warning"


def _stored(actor: Actor, event_pk: str) -> Event | None:
    if not event_pk:
        return None
    try:
        event = Event.objects.filter(tenant_id=actor.tenant_id, id=uuid.UUID(event_pk)).first()
    except ValueError:
        event = None
    if event is None:
        raise Http404(f"There is no event {event_pk}.")
    return event


def _envelope(event: Event) -> dict[str, Any]:
    """Return a stored event in the form in which a sender sends it.

    The event id is left out, because an event with the same id would be a repeat.
    """
    envelope: dict[str, Any] = {"event_type": event.event_type, "payload": event.payload}
    if event.workflow_correlation_key:
        envelope["workflow_correlation_key"] = event.workflow_correlation_key
    if event.payload_schema_ref:
        envelope["payload_schema_ref"] = event.payload_schema_ref
    if event.occurred_at:
        envelope["occurred_at"] = event.occurred_at.isoformat()
    return envelope


def _shown(actor: Actor, event: Event) -> dict[str, Any]:
    """Return the envelope, redacted with the tenant's rules."""
    shown: dict[str, Any] = redact(_envelope(event), rules_of(actor.tenant_id))
    return shown


def _unredacted(actor: Actor, fields: dict[str, Any]) -> Any:
    """Return the event of the form. If a value is still `[redacted]`, the stored value replaces it."""
    stored = _stored(actor, fields["stored"])
    return restored(fields["event"], _shown(actor, stored), _envelope(stored)) if stored else fields["event"]


def _catalogue(actor: Actor) -> str:
    """Return the current correlation paths as JSON, one event type per line."""
    entries = EventType.objects.filter(tenant_id=actor.tenant_id, is_active=True).order_by("name")
    paths = {entry.name: entry.correlation_paths for entry in entries if entry.correlation_paths}
    lines = [f"  {json.dumps(name)}: {json.dumps(found, ensure_ascii=False)}" for name, found in paths.items()]
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"


def _text(value: Any) -> str:
    return write_json(value, indent=2, ensure_ascii=False)
