"""Search for events by the beginning or the end of their key, or by an id (docs/reference/screens.md#other-screens)."""

import uuid
from functools import reduce
from operator import or_
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet

from workflows.models import Event, EventKey, EventType
from workflows.models.fields import FOLDED_LENGTH, folded_prefix
from workflows.redaction import Rules, redact_at
from workflows.selectors.best_first import best_first
from workflows.selectors.run_search import id_begins_with, key_ends_with, key_equals

MOST_IDS = 1000


def events_by_term(events: QuerySet[Event], *, tenant_id: uuid.UUID, term: str, rules: Rules) -> QuerySet[Event]:
    """Return the events whose first correlation key begins or ends with the text in any letter case.

    Return also the events whose id begins with the text, with this event id, or with another key that equals it. If
    redaction rules hide a place of keys, keys are only compared as a whole. Otherwise a search could find out a hidden
    key, character by character.

    Cost: two statements before the statement of the list.
    """
    exact, *parts = _conditions(tenant_id, term.strip(), rules)
    return events.filter(reduce(or_, parts, exact))


def first_events_by_term(*, tenant_id: uuid.UUID, term: str, rules: Rules, number: int) -> list[dict[str, Any]]:
    """Return the first events that the search finds, as rows of the command palette.

    Events with exactly this key or id come first. Then come the events whose key begins with the text, and the events
    whose key ends with it.
    Cost: three statements.
    """
    return best_first(
        Event.objects.filter(tenant_id=tenant_id), _conditions(tenant_id, term.strip(), rules),
        "event_id", "event_type", "outcome", "buffered_until", newest="received_at", number=number,
    )  # fmt: skip


def _conditions(tenant_id: uuid.UUID, term: str, rules: Rules) -> list[Q]:
    """Return the conditions of the search, the best one first."""
    keys = EventKey.objects.filter(tenant_id=tenant_id, key=term).values_list("event_id", flat=True)
    ids = list(keys[: MOST_IDS + 1])
    of_key = Q(id__in=ids) if len(ids) <= MOST_IDS else Q(id__in=keys)
    of_id = Q(event_id=term, occupies_id=True) | Q(event_id=term, occupies_id=False)
    exact = of_id | Q(id__in=_row_id(term)) | of_key
    if len(term) < FOLDED_LENGTH and not _hides_keys(tenant_id, rules):
        parts = [folded_prefix("correlation_key_folded", term), key_ends_with(term), id_begins_with(term)]
        return [exact | key_equals(term), *parts]
    same = Q(correlation_key=term) & folded_prefix("correlation_key_folded", term[: FOLDED_LENGTH // 2])
    return [exact | same, id_begins_with(term)]


def _hides_keys(tenant_id: uuid.UUID, rules: Rules) -> bool:
    """Return True if the rules hide a configured correlation path, or could hide the value at the path."""
    stored = EventType.objects.filter(tenant_id=tenant_id, is_active=True).values_list("correlation_paths", flat=True)
    paths = [path for found in (*stored, *settings.EVENT_CORRELATION_PATHS.values()) for path in found or ()]
    return any("value" in path.split(".") or redact_at(f"payload.{path}", "x", rules) != "x" for path in paths)


def _row_id(term: str) -> list[uuid.UUID]:
    try:
        return [uuid.UUID(term)]
    except ValueError:
        return []
