"""Search for runs by a text that a person has: a key, an id, or the name of a definition.

Every condition has an index that row-level security lets the application's role use. So a search that finds nothing
costs no more than a search that finds one run.
"""

import uuid
from typing import Any

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from workflows.models import Event, EventDelivery, Run, RunWait
from workflows.models.fields import FOLDED_LENGTH, folded, folded_prefix, folded_suffix
from workflows.selectors.best_first import best_first
from workflows.statuses import DeliveryStatus

# Conditions of a search, each with the order of its index.
Ranges = list[tuple[Q, tuple[str, ...]]]
MOST_IDS = 1000
# Shortest text that is compared with the end of keys. A shorter one is the end of too many keys.
SHORTEST_END = 3
# Shortest beginning of an id that is searched. Shorter ones are the ids of hours.
SHORTEST_ID = 8
HEX_DIGITS = frozenset("0123456789abcdef")


def runs_with_key(runs: QuerySet[Run], *, tenant_id: uuid.UUID, key: str) -> QuerySet[Run]:
    """Return the runs with this correlation key, and the runs that have a wait with this key."""
    own = Run.objects.filter(tenant_id=tenant_id, correlation_key=key).values("id")
    waits = RunWait.objects.filter(tenant_id=tenant_id, correlation_key=key).values("run_id")
    return runs.filter(id__in=own.union(waits))


def runs_of_event(runs: QuerySet[Run], *, tenant_id: uuid.UUID, event_id: str) -> QuerySet[Run]:
    """Return the runs that the event with this id of its sender started or resumed."""
    events = Event.objects.filter(tenant_id=tenant_id, event_id=event_id, occupies_id=True)
    started = Run.objects.filter(tenant_id=tenant_id, event__in=events).values("id")
    taken = EventDelivery.objects.filter(
        tenant_id=tenant_id, event__in=events, status__in=[DeliveryStatus.MATCHED, DeliveryStatus.STARTED]
    ).values("run_id")
    return runs.filter(id__in=started.union(taken))


def search_ranges(*, tenant_id: uuid.UUID, term: str) -> Ranges:
    """Return the conditions of the search of the run list, each with the order of its index.

    They find the runs whose correlation key begins or ends with the text in any letter case. They also find the runs
    with this id or beginning of an id, workflow id, definition key, wait key or event id.

    Cost: two statements.
    """
    term = term.strip()
    ids = _ids_of(tenant_id, term)
    ranges: Ranges = [
        (_key_begins_with(term), ("correlation_key_folded", "id")),
        (key_ends_with(term), ("correlation_key_reversed",)),
        (Q(definition_key=term), ("-created_at",)),
        (id_begins_with(term), ("id",)),
    ]
    if len(ids) > MOST_IDS:
        return [*ranges, (Q(Exists(_waits_of_run(term)) | Exists(_deliveries_of_run(term))), ("-created_at",))]
    return [*ranges, (Q(id__in=ids), ("id",))] if ids else ranges


def runs_in_ranges(runs: QuerySet[Run], ranges: Ranges) -> QuerySet[Run]:
    """Return the runs that meet one of the conditions."""
    wanted = Q()
    for condition, _ in ranges:
        wanted |= condition
    return runs.filter(wanted)


def runs_by_range(runs: QuerySet[Run], ranges: Ranges) -> list[QuerySet[Run]]:
    """Return the runs of each condition in the order of its index. A run can be in several ranges."""
    return [runs.filter(condition).order_by(*order) for condition, order in ranges]


def exact_first(runs: QuerySet[Run], *, term: str) -> Case | None:
    """Return the order in which runs with exactly this key or id come first, or None if there is no such run.

    Use it only with the runs of a search, because the order needs no index then.
    Cost: one statement.
    """
    term = term.strip()
    exact = key_equals(term) | Q(id=uuid.UUID(term)) if _is_uuid(term) else key_equals(term)
    return Case(When(exact, then=Value(0)), default=Value(1)) if runs.filter(exact).exists() else None


def first_runs_by_term(*, tenant_id: uuid.UUID, term: str, number: int) -> list[dict[str, Any]]:
    """Return the first runs that the search finds, as rows of the command palette.

    Runs with exactly this key or id come first. Then come the runs whose key begins with the text, the runs whose key
    ends with it, the runs of the definition with this key, and the runs whose id begins with the text.
    Cost: three statements.
    """
    term = term.strip()
    ids = _ids_of(tenant_id, term)[:MOST_IDS]
    exact = Q(id__in=ids) | key_equals(term)
    return best_first(
        Run.objects.filter(tenant_id=tenant_id),
        [exact, _key_begins_with(term), key_ends_with(term), Q(definition_key=term), id_begins_with(term)],
        "correlation_key", "status", "version", "replay_of", "definition__name",
        newest="created_at", number=number,
    )  # fmt: skip


def key_equals(key: str) -> Q:
    """Return the condition that a correlation key is this text, in any letter case. A key is never empty."""
    if not key:
        return Q(pk__in=[])
    return Q(correlation_key_folded=folded(key)) if len(key) < FOLDED_LENGTH else Q(correlation_key=key)


def key_ends_with(suffix: str) -> Q:
    """Return the condition that a correlation key ends with this text, in any letter case.

    A text of less than `SHORTEST_END` characters finds nothing, and so does one that is as long as a folded key.
    """
    if not SHORTEST_END <= len(suffix) < FOLDED_LENGTH:
        return Q(pk__in=[])
    return folded_suffix("correlation_key_reversed", suffix)


def _key_begins_with(prefix: str) -> Q:
    """Compare a longer text with the whole key, because only the beginning of a key is folded."""
    return folded_prefix("correlation_key_folded", prefix) if len(prefix) < FOLDED_LENGTH else Q(correlation_key=prefix)


def id_begins_with(prefix: str) -> Q:
    """Return the condition that an id is this text or begins with it, with or without its hyphens.

    The condition is a range of the primary key. A UUIDv7 begins with its time: 8 digits are all runs of about a minute,
    and 16 digits are one run.
    """
    digits = prefix.replace("-", "").lower()
    if not SHORTEST_ID <= len(digits) <= 32 or not HEX_DIGITS.issuperset(digits):
        return Q(pk__in=[])
    return Q(id__gte=uuid.UUID(digits.ljust(32, "0")), id__lte=uuid.UUID(digits.ljust(32, "f")))


def _ids_of(tenant_id: uuid.UUID, term: str) -> list[uuid.UUID]:
    """Return the ids of the runs that another text than their key leads to, and at most one more than `MOST_IDS`.

    The event is read first. In a join, PostgreSQL may assume that many runs have it, and read all runs of the tenant.
    Cost: two statements.
    """
    runs = Run.objects.filter(tenant_id=tenant_id)
    events = Event.objects.filter(tenant_id=tenant_id, event_id=term, occupies_id=True).values_list("id", flat=True)
    of_event = [
        part
        for event in events
        for part in (
            EventDelivery.objects.filter(tenant_id=tenant_id, run__isnull=False, event=event).values_list("run_id"),
            runs.filter(event=event).values_list("id"),
        )
    ]
    found = (
        RunWait.objects.filter(tenant_id=tenant_id, correlation_key=term)
        .values_list("run_id")
        .union(
            *of_event,
            runs.filter(temporal_workflow_id=term).values_list("id"),
            *([runs.filter(id=uuid.UUID(term)).values_list("id")] if _is_uuid(term) else []),
        )
    )
    return [row[0] for row in found[: MOST_IDS + 1]]


def _waits_of_run(term: str) -> QuerySet[RunWait]:
    return RunWait.objects.filter(tenant_id=OuterRef("tenant_id"), run=OuterRef("pk"), correlation_key=term)


def _deliveries_of_run(term: str) -> QuerySet[EventDelivery]:
    return EventDelivery.objects.filter(tenant_id=OuterRef("tenant_id"), run=OuterRef("pk"), event__event_id=term)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
