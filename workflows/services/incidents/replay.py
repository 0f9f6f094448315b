"""Replay of the runs of an incident, as a bulk job (docs/reference/incidents.md#replay)."""

import uuid

from django.conf import settings

from workflows.actors import Actor
from workflows.models import BulkJob, Run
from workflows.selectors.incidents import runs_of_incident
from workflows.selectors.run_list import NOT_REPLAYED
from workflows.selectors.work import runs_that_decide
from workflows.services.bulk.preview import bulk_preview
from workflows.services.incidents.find import incident_find
from workflows.statuses import CommandAction, ReplayVersion


def incident_replay_preview(
    *,
    actor: Actor,
    incident_id: uuid.UUID,
    replay_version: ReplayVersion | str = ReplayVersion.PUBLISHED,
    only_not_replayed: bool = False,
    reason: str = "",
    idempotency_key: str = "",
) -> BulkJob:
    """Freeze the runs that the incident counts as the preview of a replay job, and return the job. Nothing starts.

    `only_not_replayed` leaves out each run whose work has a newer run, for example a replay that failed again.
    The newest failure is first, so "Start 1 first" tries the run that is most like the failures that would follow.

    Errors: NotFound; the errors of `bulk_preview`.
    """
    incident = incident_find(actor=actor, incident_id=incident_id)
    wanted = runs_that_decide(Run.objects.all()) if only_not_replayed else Run.objects.all()
    runs = runs_of_incident(wanted, tenant_id=actor.tenant_id, number=incident.number)
    # The ids are read first. Inside the statement that freezes them, PostgreSQL may choose a slow plan for this query.
    newest_first = runs.order_by("-created_at", "-id").values_list("id", flat=True)
    return bulk_preview(
        actor=actor,
        action=CommandAction.REPLAY,
        ids=list(newest_first[: settings.BULK_MAX_RUNS + 1]),
        selection={"filters": {"incident": incident.number} | ({"replays": NOT_REPLAYED} if only_not_replayed else {})},
        reason=reason,
        replay_version=replay_version,
        incident_id=incident.id,
        idempotency_key=idempotency_key,
    )
