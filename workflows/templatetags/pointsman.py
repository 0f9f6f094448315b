"""Template tags for statuses, times, facts and JSON."""

from typing import Any

from django import template
from django.template import Context
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from workflows.event_redaction import EventRedaction
from workflows.json_numbers import write_json
from workflows.models import Event, EventDelivery
from workflows.models.fields import new_id
from workflows.redaction import compiled, redact, redact_filters, redact_output
from workflows.templatetags.times import ago as ago
from workflows.templatetags.times import clock as clock
from workflows.templatetags.times import duration as duration
from workflows.templatetags.times import duration_between as duration_between
from workflows.templatetags.times import full_text
from workflows.templatetags.times import moment as moment
from workflows.templatetags.times import until as until
from workflows.templatetags.times import zone_name as zone_name

register = template.Library()
for tag in (moment, clock, ago, until, duration_between, zone_name):
    register.simple_tag(tag)
register.filter(duration)
register.filter("full_time", full_text)


@register.simple_block_tag
def fact(content: SafeString, label: str, title: str = "") -> SafeString:
    """Render a label with its value, inside `<dl class="facts">`. `title` is shown on hover."""
    hover = format_html(' title="{}"', title) if title else ""
    return format_html("<div><dt>{}</dt><dd{}>{}</dd></div>", label, hover, content)


def nowrap(text: str) -> SafeString:
    """Render a short text that the browser must not break into several lines."""
    return format_html('<span class="pm-nowrap">{}</span>', text)


@register.simple_tag(takes_context=True)
def shown_json(context: Context, value: Any, at: str = "") -> str:
    """Render a payload that is stored at the pointer `at`, redacted with the rules of `TenantAdmin.page_context`."""
    return pretty_json(redact(value, context.get("redaction") or compiled(), at))


@register.simple_tag(takes_context=True)
def shown_output(context: Context, output: Any) -> str:
    """Render the output of a run, redacted."""
    return pretty_json(redact_output(output, context.get("redaction") or compiled()))


@register.simple_tag(takes_context=True)
def shown_filters(context: Context, filters: Any) -> Any:
    """Return the filters of a wait. The values in the filters are redacted like values of the payload."""
    return redact_filters(filters, context.get("redaction") or compiled())


@register.simple_tag(takes_context=True)
def shown_reason(context: Context, delivery: EventDelivery) -> str:
    """Return the redacted reason of a delivery."""
    return EventRedaction(delivery.event, context.get("redaction") or compiled()).delivery_reason(delivery)


@register.simple_tag(takes_context=True)
def shown_key(context: Context, event: Event, key: str) -> str:
    """Return a correlation key of this event. It is redacted if a rule hides the path at which the key was found."""
    return EventRedaction(event, context.get("redaction") or compiled()).key(key)


@register.filter
def pretty_json(value: Any) -> str:
    return write_json(value, indent=2, ensure_ascii=False)


@register.filter
def compact_json(value: Any) -> str:
    return write_json(value, ensure_ascii=False)


@register.simple_tag(takes_context=True)
def form_key(context: Context) -> str:
    """Return the hidden fields that every form has that changes something: a new idempotency key, and the tenant."""
    tenant = getattr(context.get("request"), "tenant", None)
    fields = [("idempotency_key", new_id()), *([("form_tenant", tenant.id)] if tenant is not None else [])]
    return format_html_join("", '<input type="hidden" name="{}" value="{}">', fields)
