"""The page of one event: the decision trace, the deliveries, and what to do first.

Source: docs/reference/events.md#decision-trace
"""

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe

from ingress.explain.advice import Advice, advice_of
from ingress.explain.trace import event_explained
from workflows import status_marks
from workflows.admin.base import TenantAdmin, actor_of
from workflows.admin.live import live_page
from workflows.event_outcomes import REACHED
from workflows.event_redaction import EventRedaction
from workflows.models import Command, Event, Run, RunWait
from workflows.redaction import Rules, redact_filters, rules_in
from workflows.selectors.delivery_targets import waiting_step
from workflows.selectors.run_list import runs_waiting_for
from workflows.selectors.versions import event_version
from workflows.statuses import DeliveryStatus, EventOutcome, OutcomeCode, Role, WaitStatus

SAME_TYPE_SPAN, SHOWN_SAME_TYPE = timedelta(hours=1), 5
SAME_TYPE_FIELDS = (
    "id", "tenant_id", "event_type", "sender", "sender_type", "outcome", "buffered_until", "received_at",
    "correlation_keys", "correlation_trace",
)  # fmt: skip
MOST_WAITING = 1_000
# An event that nobody routes or delivers gets another advice after some time, without a change of its rows.
PAGE_AGE_SECONDS = 15
# A near miss explains nothing after these decisions, because a run has the event or will have it.
USED_CODES = (
    OutcomeCode.MATCHED, OutcomeCode.STARTED, OutcomeCode.PARTLY_DEAD, OutcomeCode.HELD, OutcomeCode.DELIVERING,
)  # fmt: skip
# With these decisions, no open wait had the type and the key of the event.
WITHOUT_WAIT = (OutcomeCode.NO_WAIT, OutcomeCode.NO_KEY, OutcomeCode.WAIT_CLOSED)
SHOWN_TARGETS = 2
SHOWN_MISSED_WAITS = 2
UNDECIDED = (EventOutcome.RECEIVED, EventOutcome.ROUTING, EventOutcome.BUFFERED)
BUFFERED = (EventOutcome.BUFFERED, EventOutcome.BUFFER_OVER)
IN_PROGRESS = (DeliveryStatus.PENDING, DeliveryStatus.SENT)


class EventPageViews(TenantAdmin):
    """View of `EventAdmin` that shows one event."""

    @method_decorator(require_safe)
    @live_page(event_version, age_seconds=PAGE_AGE_SECONDS)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        event = self.get_object(request, object_id)
        if event is None:
            raise Http404(f"There is no event {object_id}.")
        actor = actor_of(request)
        rules = rules_in(request.tenant)  # type: ignore[attr-defined]
        trace = event_explained(tenant_id=actor.tenant_id, event=event, sees_payloads=actor.sees_payloads, rules=rules)
        key = next(iter(trace["correlation"]["keys"]), "")
        advice, counts = advice_of(trace, now=timezone.now()), trace["delivery_counts"]
        total, near_misses = sum(counts.values()), trace["routing"]["near_misses"]
        is_unused = event.outcome_code not in USED_CODES
        delivery_ids = [str(delivery["id"]) for delivery in trace["deliveries"]]
        commands = Command.objects.filter(tenant_id=actor.tenant_id, target_id__in=delivery_ids)
        dead_url = _dead_url(trace)
        context = self.page_context(
            request,
            f"{event.event_type} {key or 'no key'}",
            event=event,
            trace=trace,
            key=key,
            total=total,
            decided=f"{total - sum(counts.get(status, 0) for status in IN_PROGRESS):,} of {total:,}",
            mark=status_marks.EVENT[event.shown_outcome],
            advice=advice,
            action_url=dead_url if advice.action == "redeliver" else _action_url(advice, event),
            dead_url=dead_url,
            **_targets(trace),
            closed_waits=[near for near in near_misses if "closed_at" in near and is_unused],
            near_misses=[near for near in near_misses if "closed_at" not in near and is_unused],
            same_type=_same_type(event, rules),
            **_waiting(event),
            shows_buffer=_shows_buffer(trace),
            missed_waits=_missed_waits(event, rules, sees_payloads=actor.sees_payloads),
            commands=list(commands.order_by("-requested_at")) if delivery_ids else [],
            is_live=_is_live(event, trace),
            may_act=actor.has_role(Role.OPERATOR),
        )
        return TemplateResponse(request, "portal/event_page.html", context)


def _targets(trace: dict[str, Any]) -> dict[str, Any]:
    """Return the first deliveries for the box, and the number of the others. Those that reached a run come first."""
    deliveries = sorted(trace["deliveries"], key=lambda row: row["status"] not in REACHED)
    shown = [
        {
            "word": status_marks.EVENT["held"].word if row["held_since"] else status_marks.DELIVERY[row["status"]].word,
            "name": f"{row['target']['definition_name']} {row['key']}".strip(),
            "run_id": row["target"]["run_id"],
            "step": row["target"]["step_name"],
            "reason": None if row["held_since"] else row["reason"],
        }
        for row in deliveries[:SHOWN_TARGETS]
    ]
    return {"targets": shown, "more_targets": sum(trace["delivery_counts"].values()) - len(shown)}


def _action_url(advice: Advice, event: Event) -> str:
    name = "send" if advice.action == "send" else "what_if"
    query = urlencode({"event": str(event.id), **advice.fields})
    return f"{reverse(f'admin:workflows_event_{name}')}?{query}"


def _dead_url(trace: dict[str, Any]) -> str:
    """Return the address that redelivers: of the only dead delivery, or of the list of the event's dead deliveries."""
    dead = [delivery["id"] for delivery in trace["deliveries"] if delivery["status"] == DeliveryStatus.DEAD]
    if len(dead) == 1 and trace["delivery_counts"][DeliveryStatus.DEAD] == 1:
        return reverse("admin:workflows_eventdelivery_redeliver", args=dead)
    if not dead:
        return ""
    return f"{reverse('admin:workflows_eventdelivery_changelist')}?{urlencode({'q': trace['event_id']})}"


def _is_live(event: Event, trace: dict[str, Any]) -> bool:
    """Return False if every delivery is decided and no wait can find the event any more."""
    if event.outcome in UNDECIDED or trace["buffer"]["is_open"]:
        return True
    return any(trace["delivery_counts"].get(status) for status in IN_PROGRESS)


def _shows_buffer(trace: dict[str, Any]) -> bool:
    """Return True if the buffer time decides: a run can still take the event, or the event had no target."""
    return trace["outcome"]["status"] in BUFFERED or not trace["delivery_counts"]


def _waiting(event: Event) -> dict[str, Any]:
    """Return how many runs wait for this event type now, if a wait could have taken the event.

    The link beside the number opens a list of the same runs.

    Shapes: `has_waiting` (bool), `waiting` (a number as text, or empty). Cost: at most one statement.
    """
    if event.routed_at is None or event.outcome_code not in WITHOUT_WAIT:
        return {"has_waiting": False, "waiting": ""}
    runs = runs_waiting_for(Run.objects.filter(tenant_id=event.tenant_id), event.event_type)
    found = runs[: MOST_WAITING + 1].count()
    text = "" if not found else f"{found:,}" if found <= MOST_WAITING else f"more than {MOST_WAITING:,}"
    return {"has_waiting": True, "waiting": text}


def _missed_waits(event: Event, rules: Rules, *, sees_payloads: bool) -> list[dict[str, Any]]:
    """Return the open waits with the type and a key of a rejected event, oldest first. Their runs still wait for it.

    Shapes: `filters` are the redacted filters of the wait. It is empty for readers who may not see payloads.
    Cost: at most one statement.
    """
    if event.outcome_code != OutcomeCode.PAYLOAD_REJECTED or not event.correlation_keys:
        return []
    rows = RunWait.objects.select_related("run__definition").defer("run__definition__draft_text")
    waits = rows.filter(
        tenant_id=event.tenant_id,
        event_name=event.event_type,
        correlation_key__in=event.correlation_keys,
        status=WaitStatus.WAITING,
    )
    waits = waits.annotate(step_name=waiting_step("step_path"))
    return [
        {
            "run_id": wait.run_id,
            "definition": wait.run.definition_key,
            "definition_name": wait.run.definition.name,
            "key": EventRedaction(event, rules).key(wait.correlation_key),
            "step_path": wait.step_path,
            "step_id": wait.step_id,
            "step_name": wait.step_name,
            "filters": redact_filters(wait.filters, rules) if sees_payloads else [],
        }
        for wait in waits.order_by("opened_at")[:SHOWN_MISSED_WAITS]
    ]


def _same_type(event: Event, rules: Rules) -> list[dict[str, Any]]:
    """Return the newest events of this type since one hour before the event. Cost: one statement, without payloads."""
    rows = (
        Event.objects.filter(
            tenant_id=event.tenant_id,
            event_type=event.event_type,
            received_at__gte=event.received_at - SAME_TYPE_SPAN,
        )
        .only(*SAME_TYPE_FIELDS)
        .order_by("-received_at")[: SHOWN_SAME_TYPE + 1]
    )
    found = []
    for row in [row for row in rows if row.id != event.id][:SHOWN_SAME_TYPE]:
        row.__dict__["values_omitted"] = {"payload"}  # the rules then hide a key by its path, without the payload
        key = next(iter(EventRedaction(row, rules).keys(row.correlation_keys)), "")
        found.append({"event": row, "key": key})
    return found
