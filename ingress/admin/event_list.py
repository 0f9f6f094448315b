"""The list of events: chips by outcome, chosen filters, rows and pages. The address of the page holds the filters.

Source: docs/reference/screens.md#other-screens
"""

from typing import Any

from django.contrib.admin.views.main import SEARCH_VAR
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from ingress.explain.targets import decided_targets
from ingress.explain.trace import schema_as_json
from workflows import status_marks
from workflows.admin.base import actor_of
from workflows.admin.list_filters import NOT_COUNTED, CheckedChangeList, is_filtered, kept_parameters, query_with
from workflows.event_decisions import problem_text
from workflows.event_outcomes import has_outcome
from workflows.event_redaction import EventRedaction
from workflows.models import Event, EventDelivery
from workflows.redaction import rules_in
from workflows.selectors.attention import EVENT_PROBLEM_WORDS, EventProblem
from workflows.selectors.counts import count_text, part_counts
from workflows.selectors.delivery_targets import definition_name, step_name
from workflows.statuses import CorrelationStatus, EventOutcome

PROBLEM = "problem"
OUTCOME, TYPE, CORRELATION = "outcome__exact", "event_type", "correlation_status__exact"
FROM, TO = ("received_at_from_0", "received_at_from_1"), ("received_at_to_0", "received_at_to_1")
LABELS = {PROBLEM: "Only", TYPE: "Event type", CORRELATION: "Correlation", SEARCH_VAR: "Search"}
MOST_TYPES = 500


def list_context(shown: CheckedChangeList, request: HttpRequest) -> dict[str, Any]:
    """Return what the template of the list needs besides the list itself."""
    query = request.GET
    counts = _counts(shown, request)
    chips = _chips(query, counts)
    rows: list[Event] = list(shown.result_list)
    rules = rules_in(request.tenant)  # type: ignore[attr-defined]
    targets, sees_payloads = decided_targets(rows), actor_of(request).sees_payloads
    # The filter has read the types already. The list has no such filter if there is no type.
    types: list[tuple[str, str]] = next(
        (spec.lookup_choices for spec in shown.filter_specs if TYPE in spec.expected_parameters()), []
    )
    return {
        "chips": chips,
        "total": next((chip["number"] for chip in chips if chip["is_chosen"]), ""),
        "chips_note": NOT_COUNTED if counts is None else "",
        "tokens": _tokens(query),
        "kept": kept_parameters(query),
        "values": {name: query.get(name, "") for name in (PROBLEM, TYPE, CORRELATION, *FROM, *TO)},
        "search": query.get(SEARCH_VAR, ""),
        "search_label": shown.search_help_text,
        "search_note": "Finds the beginning or the end of a key, and whole ids. Not the middle of a key.",
        "correlations": CorrelationStatus.choices,
        "event_types": [name for name, _ in types[:MOST_TYPES]],
        "rows": [
            {
                **_row(event, EventRedaction(event, rules), targets.get(event.id)),
                "problem": _problem(event, sees_payloads),
            }
            for event in rows
        ],
        "problems": shown.problems,
        "problem_lines": shown.problems,
        "cleared": reverse("admin:workflows_event_changelist"),
        "is_filtered": is_filtered(query),
    }


def _row(event: Event, redaction: EventRedaction, target: EventDelivery | None) -> dict[str, Any]:
    return {
        "event": event,
        "keys": ", ".join(redaction.keys(event.correlation_keys)),
        "why": redaction.reason(event.shown_reason),
        "target": _target(target, redaction) if target else None,
        "taker": event.can_be_taken_by if event.shown_outcome == EventOutcome.BUFFER_OVER else None,
        "is_buffered": event.shown_outcome == EventOutcome.BUFFERED,
    }


def _problem(event: Event, sees_payloads: bool) -> str:
    """Return the first problem of a rejected payload, or an empty text. Its message can contain payload values."""
    schema = schema_as_json(event.decision_trace.get("schema"), sees_payloads)
    if event.outcome != EventOutcome.REJECTED or not schema or not schema["problems"]:
        return ""
    first, more = schema["problems"][0], len(schema["problems"]) - 1
    return f"{problem_text(first)} (and {more} more)" if more else problem_text(first)


def _target(delivery: EventDelivery, redaction: EventRedaction) -> dict[str, Any]:
    """Return the run or the definition that the decision is about, with the step of the wait."""
    run = delivery.run
    key = redaction.key(run.correlation_key) if run else ""
    return {
        "name": f"{definition_name(delivery)} {key}".strip(),
        "run_id": run.id if run else None,
        "step": step_name(delivery),
    }


def _counts(shown: CheckedChangeList, request: HttpRequest) -> dict[str, int] | None:
    """Return the number of events of each outcome, with the other filters and the search of the list."""
    events = shown.rows_without(request, OUTCOME)
    parts = {outcome.value: events.filter(has_outcome(outcome)) for outcome in EventOutcome}
    return part_counts({"": events, **parts}, tenant_id=actor_of(request).tenant_id)


def _chips(query: QueryDict, counts: dict[str, int] | None) -> list[dict[str, Any]]:
    """Return a chip for all events, and one for each outcome that has events or whose events could not be counted."""
    chosen = query.get(OUTCOME, "")
    marks = {"": status_marks.Mark("All", "", "grey")}
    for outcome in EventOutcome:
        if counts is None or counts[outcome.value] or chosen == outcome.value:
            marks[outcome.value] = status_marks.EVENT[outcome.value]
    return [
        {
            **mark._asdict(),
            "value": value,
            "query": query_with(query, OUTCOME, value),
            "is_chosen": chosen == value,
            "number": count_text(counts[value] if counts else None),
        }
        for value, mark in marks.items()
    ]


def _words(name: str, value: str) -> str:
    is_problem = name == PROBLEM and value in set(EventProblem)
    return EVENT_PROBLEM_WORDS[EventProblem(value)] if is_problem else value


def _tokens(query: QueryDict) -> list[dict[str, str]]:
    """Return the chosen filters except the outcome, each with the address without it."""
    tokens = [
        {"label": label, "value": _words(name, str(query[name])), "without": query_with(query, name, "")}
        for name, label in LABELS.items()
        if query.get(name)
    ]
    for label, (date, time) in (("Received from", FROM), ("Received until", TO)):
        if query.get(date):
            other = query.copy()
            other.pop(time, None)
            value = f"{query[date]} {query.get(time, '')}".strip()
            tokens.append({"label": label, "value": value, "without": query_with(other, date, "")})
    return tokens
