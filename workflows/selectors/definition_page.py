"""Reads of the page and the list of definitions (docs/reference/screens.md#definition-page)."""

import uuid
from collections import defaultdict
from collections.abc import Iterable

from workflows.models import Definition, Incident, Schedule
from workflows.selectors.incidents import NEWEST_FAILURE_FIRST, incidents_shown
from workflows.statuses import ACTIVE_INCIDENT_STATES, TriggerType

SHOWN_INCIDENTS = 2
# Schedules of a page of definitions that are read at most.
MOST_SCHEDULES = 500


def incidents_of_definition(definition: Definition) -> list[Incident]:
    """Return the active incidents, the newest failure first.

    At most one more than `SHOWN_INCIDENTS` is returned. Cost: one statement.
    """
    shown = incidents_shown(tenant_id=definition.tenant_id).filter(
        definition=definition, state__in=ACTIVE_INCIDENT_STATES
    )
    return list(shown.order_by(*NEWEST_FAILURE_FIRST)[: SHOWN_INCIDENTS + 1])


def starts_of_definitions(definitions: Iterable[Definition], *, tenant_id: uuid.UUID) -> dict[uuid.UUID, list[str]]:
    """Return what starts runs of each definition: names of events and of schedules.

    A definition without an entry is started by people, by the API and by parent runs. Cost: one statement.
    """
    found: dict[uuid.UUID, list[str]] = defaultdict(list)
    published = {row.id: row.published_version for row in definitions}
    for definition_id, version in published.items():
        if version is not None and version.trigger_type == TriggerType.EVENT:
            found[definition_id].append(version.trigger_event_name)
    schedules = Schedule.objects.filter(tenant_id=tenant_id, definition__in=published, removed_at__isnull=True)
    for definition_id, name in schedules.order_by("name").values_list("definition_id", "name")[:MOST_SCHEDULES]:
        found[definition_id].append(f"Schedule {name}")
    return dict(found)
