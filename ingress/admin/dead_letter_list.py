"""The list of deliveries: chips by status, chosen filters and rows. Without a status, it is the dead-letter inbox.

Source: docs/reference/screens.md#other-screens
"""

from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from ingress.admin.dead_letters import event_page_of
from ingress.dead_letters.selectors import outbox_refused
from workflows import status_marks
from workflows.actors import Actor
from workflows.admin.list_filters import NOT_COUNTED, CheckedChangeList, is_filtered, kept_parameters, query_with
from workflows.event_redaction import EventRedaction
from workflows.models import Definition, EventDelivery
from workflows.redaction import rules_in
from workflows.selectors.attention import held_deliveries
from workflows.selectors.counts import count_text, part_counts
from workflows.selectors.delivery_targets import definition_name, step_name
from workflows.statuses import DeliveryStatus

STATUS, DEFINITION = "status", "definition"
ALL, HELD = "all", "held"
TIMES = ("created_at_from_0", "created_at_from_1", "created_at_to_0", "created_at_to_1")
SHOWN_REFUSED = 20
MOST_DEFINITIONS = 200


def list_context(shown: CheckedChangeList, request: HttpRequest, actor: Actor) -> dict[str, Any]:
    """Return what the template of the list needs. Cost: four statements beside the rows."""
    query = request.GET
    status = query.get(STATUS) or DeliveryStatus.DEAD.value
    refused = outbox_refused(tenant_id=actor.tenant_id)
    definitions = Definition.objects.filter(tenant_id=actor.tenant_id).order_by("name")
    counts = _counts(shown, request, actor)
    return {
        "status": status,
        "dead": counts is None or counts[DeliveryStatus.DEAD.value],
        # The version of the live page has only the deliveries of these two chips.
        "is_live": status in (DeliveryStatus.DEAD, HELD) and not shown.problems,
        "rows": [_row(delivery, actor) for delivery in shown.result_list],
        "shows_reasons": actor.sees_payloads,
        "total": count_text(counts[status]) if counts and status in counts else "",
        "chips": _chips(query, status, counts),
        "chips_note": NOT_COUNTED if counts is None else "",
        "tokens": _tokens(query),
        "kept": kept_parameters(query),
        "kept_in_form": [(name, query[name]) for name in (STATUS, SEARCH_VAR) if query.get(name)],
        "search": query.get(SEARCH_VAR, ""),
        "search_label": "Whole event id or correlation key",
        "values": {name: query.get(name, "") for name in (DEFINITION, *TIMES)},
        "definitions": definitions.values_list("key", "name")[:MOST_DEFINITIONS],
        "problems": shown.problems,
        "problem_lines": shown.problems,
        "is_filtered": is_filtered(query),
        "has_other_filters": is_filtered(query, but=STATUS),
        "cleared": reverse("admin:workflows_eventdelivery_changelist"),
        "refused": refused[:SHOWN_REFUSED],
        "refused_count": refused.count(),
        "actor": actor,
    }


def _row(delivery: EventDelivery, actor: Actor) -> dict[str, Any]:
    """Return a row. The reason is shown only to roles that may view payloads, because it can contain their values."""
    redaction = EventRedaction(delivery.event, rules_in(delivery.event.tenant))
    return {
        "delivery": delivery,
        "is_held": delivery.status == DeliveryStatus.PENDING and delivery.held_since is not None,
        "key": redaction.key(delivery.correlation_key),
        "link": event_page_of(delivery),
        "definition": definition_name(delivery),
        "step": step_name(delivery),
        "reason": redaction.delivery_reason(delivery) if actor.sees_payloads else "",
        "since": delivery.held_since or delivery.decided_at or delivery.created_at,
    }


def deliveries_of(deliveries: QuerySet[EventDelivery], status: str) -> QuerySet[EventDelivery]:
    """Return the deliveries of one chip. Each delivery has one chip beside "All", so the numbers add up."""
    if status == HELD:
        return held_deliveries(deliveries).order_by()
    if status == DeliveryStatus.PENDING:  # a start on hold is pending too, and has its own chip
        return deliveries.filter(status=status, held_since__isnull=True)
    return deliveries if status == ALL else deliveries.filter(status=status)


def _counts(shown: CheckedChangeList, request: HttpRequest, actor: Actor) -> dict[str, int] | None:
    """Return the number of deliveries of each chip, with the other filters and the search of the list."""
    others = shown.rows_without(request, STATUS)
    parts = {value: deliveries_of(others, value) for value in (*DeliveryStatus.values, HELD)}
    counts = part_counts(parts, tenant_id=actor.tenant_id, order=["-created_at"])
    return None if counts is None else counts | {ALL: sum(counts.values())}


def _chips(query: QueryDict, status: str, counts: dict[str, int] | None) -> list[dict[str, Any]]:
    """Return a chip for each status, the dead deliveries first, and one for the starts on hold.

    A chip without deliveries is left out, except that of the dead ones and the chosen one.
    """
    marks = {DeliveryStatus.DEAD.value: status_marks.DELIVERY["dead"], HELD: status_marks.EVENT[HELD]}
    marks |= {value: status_marks.DELIVERY[value] for value in DeliveryStatus.values if value not in marks}
    marks[ALL] = status_marks.Mark("All deliveries", "", "grey")
    return [
        {
            **mark._asdict(),
            "query": query_with(query, STATUS, "" if value == DeliveryStatus.DEAD else value),
            "is_chosen": status == value,
            "number": count_text(counts[value] if counts else None),
        }
        for value, mark in marks.items()
        if value in (DeliveryStatus.DEAD, ALL, status) or counts is None or counts[value]
    ]


def _tokens(query: QueryDict) -> list[dict[str, str]]:
    """Return the chosen filters except the status, each with the address without it."""
    labels = {DEFINITION: "Definition", SEARCH_VAR: "Search"}
    tokens = [
        {"label": label, "value": str(query[name]), "without": query_with(query, name, "")}
        for name, label in labels.items()
        if query.get(name)
    ]
    for label, date, time in (("Created from", *TIMES[:2]), ("Created until", *TIMES[2:])):
        if query.get(date):
            other = query.copy()
            other.pop(time, None)
            value = f"{query[date]} {query.get(time, '')}".strip()
            tokens.append({"label": label, "value": value, "without": query_with(other, date, "")})
    return tokens
