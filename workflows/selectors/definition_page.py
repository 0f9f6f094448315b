"""Reads of the page and the list of definitions (docs/reference/screens.md#definition-page)."""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef

from workflows.models import Definition, Incident, Schedule
from workflows.selectors.incidents import NEWEST_FAILURE_FIRST, incidents_shown
from workflows.selectors.step_counts import map_annotations
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


def page_annotations(*, tenant_id: uuid.UUID) -> dict[str, Any]:
    """Return the annotations of a definition that its page needs: those of its map, and `schedule_names`."""
    schedules = Schedule.objects.filter(tenant_id=tenant_id, definition=OuterRef("pk"), removed_at__isnull=True)
    names = ArraySubquery(schedules.order_by("name").values("name")[:MOST_SCHEDULES])
    return {**map_annotations(tenant_id=tenant_id), "schedule_names": names}


def starts_of_definitions(definitions: Iterable[Definition], *, tenant_id: uuid.UUID) -> dict[uuid.UUID, list[str]]:
    """Return what starts runs of each definition: names of events and of schedules. Cost: one statement."""
    rows, names = list(definitions), defaultdict(list)
    schedules = Schedule.objects.filter(
        tenant_id=tenant_id, definition__in=[row.id for row in rows], removed_at__isnull=True
    )
    for definition_id, name in schedules.order_by("name").values_list("definition_id", "name")[:MOST_SCHEDULES]:
        names[definition_id].append(name)
    return {row.id: starts_of(row, names[row.id]) for row in rows}


def starts_of(definition: Definition, schedule_names: Iterable[str]) -> list[str]:
    """Return what starts runs of the definition: the name of its event and those of its schedules.

    An empty list: people, the API and parent runs start it.
    """
    version = definition.published_version
    by_event = version is not None and version.trigger_type == TriggerType.EVENT
    events = [version.trigger_event_name] if version and by_event else []
    return [*events, *(f"Schedule {name}" for name in schedule_names)]
