"""The event type that a sender probably meant: a name of the event catalogue that is almost the name of the event.

Source: docs/reference/events.md#what-to-do-first
"""

import difflib
import uuid
from collections.abc import Iterable

from workflows.models import EventType

MOST_TYPES = 500
# "REPLYED" is alike to "REPLIED". Other words of the same length are not.
LEAST_LIKENESS = 0.85


def catalogue_paths(tenant_id: uuid.UUID) -> dict[str, list[str]]:
    """Return the correlation paths of the active event types by name. Cost: one statement."""
    entries = EventType.objects.filter(tenant_id=tenant_id, is_active=True).order_by("name")
    return {name: paths or [] for name, paths in entries.values_list("name", "correlation_paths")[:MOST_TYPES]}


def alike_type(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most alike. Return an empty text if there is none, or if the name is known."""
    names = list(known)
    near = [] if name in names else difflib.get_close_matches(name, names, n=1, cutoff=LEAST_LIKENESS)
    return near[0] if near else ""
