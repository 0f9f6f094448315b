"""Pages for "what if". They change nothing.

The forms are sent with POST, because a payload must not be part of a URL.
"""

import json
import uuid
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from ingress.admin.stored_events import restored_envelope, shown_envelope, stored_event
from ingress.explain.what_if import event_what_if
from ingress.explain.what_if_correlation import MAX_EVENTS, correlation_what_if
from workflows.actors import Actor
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.forms import JsonObjectField
from workflows.engine.filters import first_mismatch
from workflows.errors import PortalError
from workflows.json_numbers import write_json
from workflows.models import EventType, RunWait
from workflows.redaction import HIDDEN, redact_filters, rules_of
from workflows.statuses import Role

EXAMPLE = {"event_type": "", "payload": {}}


def json_area() -> forms.Textarea:
    return forms.Textarea(attrs={"class": "in mono", "rows": 12, "spellcheck": "false"})


class EventWhatIfForm(forms.Form):
    """Form for the what-if check of one event.

    `stored` is the id of the stored event with which the form was filled. Its values replace the redacted values of the
    form.
    """

    stored = forms.CharField(required=False, widget=forms.HiddenInput())
    event = JsonObjectField(
        widget=json_area(),
        help_text="The event as an application would send it: event_type, payload and the optional fields.",
    )


class CorrelationWhatIfForm(forms.Form):
    paths = JsonObjectField(
        label="Correlation paths",
        widget=json_area(),
        help_text="The complete catalogue after the change. Each event type, or * for all types, has a dotted path or a"
        " list of paths.",
    )
    last = forms.IntegerField(
        label="Number of latest events",
        initial=1000,
        min_value=1,
        max_value=MAX_EVENTS,
        widget=forms.NumberInput(attrs={"class": "in"}),
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
        stored = stored_event(actor, request.GET.get("event", "")) if may_ask else None
        start = shown_envelope(actor, stored) if stored else EXAMPLE
        initial = {"event": _text(start), "stored": stored.id if stored else ""}
        form = EventWhatIfForm(request.POST or None, initial=initial)
        result = value = None
        if request.method == "POST":
            _require_operator(may_ask)
            if form.is_valid():
                fields = form.cleaned_data
                value = restored_envelope(actor, fields["event"], fields["stored"])
                result = event_what_if(actor=actor, value=value)
        context = self.page_context(
            request,
            "What if this event arrived now?",
            form=form,
            may_ask=may_ask,
            **result_context(actor, result, (value or {}).get("payload")),
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


def tone_of(result: dict[str, Any] | None) -> str:
    """Return the tone that gives the result panel its colour."""
    if not result:
        return "grey"
    if result["answer"].get("code"):
        return "red"
    if not result.get("outcome"):
        return "grey"
    return "blue" if result["waits"] or result["triggers"] else "amber"


def result_context(actor: Actor, result: dict[str, Any] | None, payload: Any) -> dict[str, Any]:
    """Return what the templates of a check need: the result with the filters of its waits, its tone, and run keys.

    Cost: one statement if there are waits.
    """
    if not result:
        return {"result": result, "tone": tone_of(result), "run_keys": {}}
    rows = [*result["waits"], *result["near_misses"]]
    filters = wait_filters(actor, [wait["wait_id"] for wait in result["waits"]], payload)
    shown = {
        **result,
        "waits": [{**wait, "filters": filters.get(wait["wait_id"], [])} for wait in result["waits"]],
        "closed_waits": [near for near in result["near_misses"] if "closed_at" in near],
        "near_misses": [near for near in result["near_misses"] if "closed_at" not in near],
    }
    keys = {str(row["run_id"]): row["key"] for row in rows if row["key"] != HIDDEN}
    return {"result": shown, "tone": tone_of(result), "run_keys": keys}


def wait_filters(actor: Actor, ids: list[uuid.UUID], payload: Any) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Return the filters of waits, redacted. Each has `matches`, the result for this payload."""
    waits = RunWait.objects.filter(tenant_id=actor.tenant_id, id__in=ids).only("id", "filters") if ids else ()
    return {wait.id: checked_filters(actor, wait.filters, payload) for wait in waits}


def checked_filters(actor: Actor, filters: list[dict[str, Any]], payload: Any) -> list[dict[str, Any]]:
    """Return filters of a wait, redacted. Each has `matches`: the result for this payload, or None without one."""
    shown = redact_filters(filters, rules_of(actor.tenant_id))
    return [
        {**condition, "matches": None if payload is None else first_mismatch([stored], payload) is None}
        for condition, stored in zip(shown, filters, strict=True)
    ]


def _catalogue(actor: Actor) -> str:
    """Return the current correlation paths as JSON, one event type per line."""
    entries = EventType.objects.filter(tenant_id=actor.tenant_id, is_active=True).order_by("name")
    paths = {entry.name: entry.correlation_paths for entry in entries if entry.correlation_paths}
    lines = [f"  {json.dumps(name)}: {json.dumps(found, ensure_ascii=False)}" for name, found in paths.items()]
    return "{\n" + ",\n".join(lines) + "\n}" if lines else "{}"


def _text(value: Any) -> str:
    return write_json(value, indent=2, ensure_ascii=False)
