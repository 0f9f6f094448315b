"""Template tag of the form that sends an event to an open wait, for the page of a run."""

from typing import Any

from django import template
from django.template import Context

from ingress.explain.form_values import send_panel
from workflows.models import RunWait
from workflows.statuses import Role, WaitKind

register = template.Library()


@register.inclusion_tag("portal/_event_send_panel.html", takes_context=True)
def send_event_panel(context: Context, wait: RunWait | None) -> dict[str, Any]:
    """Render the form for an open event wait. A member who may not send events, and any other wait, get nothing."""
    actor = context["actor"]
    if wait is None or wait.kind != WaitKind.EVENT or not wait.event_name or not actor.has_role(Role.OPERATOR):
        return {}
    panel = send_panel(actor, wait, context["redaction"])
    return {"wait": wait, "actor": actor, "request": context["request"], "redaction": context["redaction"], **panel}
