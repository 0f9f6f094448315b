"""How statuses, times and JSON look, on every page."""

import json
from datetime import UTC, datetime
from typing import Any

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from workflows import status_colours
from workflows.event_redaction import EventRedaction
from workflows.models import Event, EventDelivery
from workflows.redaction import compiled, redact, redact_filters

register = template.Library()


@register.simple_tag
def pill(kind: str, value: str, text: str = "") -> SafeString:
    """A status as a coloured pill; `kind` is one of `status_colours.ALL`."""
    tone = status_colours.ALL[kind].get(value, "default")
    return format_html('<span class="pm-pill pm-{}">{}</span>', tone, text or value.replace("_", " ").lower())


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """A time in UTC, to the millisecond on hover; the browser shows local time beside it."""
    if value is None:
        return "–"
    utc = value.astimezone(UTC)
    return format_html(
        '<time class="pm-time" datetime="{}" title="{} UTC">{}</time>',
        utc.isoformat(),
        utc.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        utc.strftime("%Y-%m-%d %H:%M:%S"),
    )


def nowrap(text: str) -> SafeString:
    """A short text that a table must not break into lines."""
    return format_html('<span class="pm-nowrap">{}</span>', text)


@register.simple_tag
def ago(value: datetime | None) -> str:
    return "–" if value is None else f"{duration(max(0.0, (timezone.now() - value).total_seconds()))} ago"


@register.simple_tag
def until(value: datetime | None) -> str:
    if value is None:
        return "no deadline"
    left = (value - timezone.now()).total_seconds()
    return f"in {duration(left)}" if left > 0 else f"{duration(-left)} ago"


@register.simple_tag
def duration_between(start: datetime | None, end: datetime | None) -> str:
    """From start to end, or to now while there is no end."""
    if start is None:
        return "–"
    return duration(((end or timezone.now()) - start).total_seconds())


@register.filter
def duration(seconds: float) -> str:
    """`0.24 s`, `12 s`, `4 min 10 s`, `3 h 5 min`, `2 d 4 h`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


@register.simple_tag(takes_context=True)
def shown_json(context: Context, value: Any, at: str = "") -> str:
    """A payload that stands at the pointer `at`, without what the tenant's rules hide (`TenantAdmin.page_context`)."""
    return pretty_json(redact(value, context.get("redaction") or compiled(), at))


@register.simple_tag(takes_context=True)
def shown_filters(context: Context, filters: Any) -> Any:
    """Filters of a wait, whose values are redacted as those of the payload are."""
    return redact_filters(filters, context.get("redaction") or compiled())


@register.simple_tag(takes_context=True)
def shown_reason(context: Context, delivery: EventDelivery) -> str:
    """Why a delivery is as it is, without what the tenant's rules hide in the payload."""
    return EventRedaction(delivery.event, context.get("redaction") or compiled()).reason(delivery.reason)


@register.simple_tag(takes_context=True)
def shown_key(context: Context, event: Event, key: str) -> str:
    """A key of this event, unless it was found where the tenant's rules hide it."""
    return EventRedaction(event, context.get("redaction") or compiled()).key(key)


@register.filter
def pretty_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@register.filter
def compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
