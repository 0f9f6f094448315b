"""Runs that are in the way of a replay: other runs of the key that are open, or that have succeeded since.

The pages show such a run before a person asks for a replay. The services refuse the replay by the same rule.

Source: docs/reference/authority.md#control-matrix
"""

from datetime import datetime
from typing import Any

from django.db.models import Case, F, JSONField, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce, JSONObject

from workflows.models import Run
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus

# Closed runs that a person may want to replay.
REPLAYABLE = (RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.CANCELED, RunStatus.TERMINATED)
_OPEN_FIRST = Case(When(status__in=OPEN_RUN_STATUSES, then=0), default=1)


def open_or_succeeded_since(created_at: Any) -> Q:
    """Return the condition for runs in the way of a run that was created at this time, or at that of an `OuterRef`."""
    return Q(status__in=OPEN_RUN_STATUSES) | Q(status=RunStatus.SUCCEEDED, created_at__gt=created_at)


def run_in_the_way() -> Case:
    """Return an annotation for runs: the run in the way of a replay, or None. See `in_the_way_of` for its shape.

    An open run comes first, then the newest. Only the statuses in REPLAYABLE have one. Each part has its own index.
    """
    others = Run.objects.filter(open_or_succeeded_since(OuterRef("created_at")), tenant_id=OuterRef("tenant_id"))
    replays = others.filter(replay_of=OuterRef("pk"))
    same_key = others.exclude(correlation_key="").filter(
        correlation_key=OuterRef("correlation_key"), definition=OuterRef("definition_id")
    )
    found = Coalesce(_first(replays), _first(same_key))
    return Case(When(status__in=REPLAYABLE, then=found), output_field=JSONField())


def in_the_way_of(run: Any) -> dict[str, Any] | None:
    """Return the annotation `in_the_way` of a run, as `{id, status, version, created_at, is_open, is_replay}`.

    `is_replay`: the other run is a replay of this run.
    """
    facts = run.in_the_way
    if facts is None:
        return None
    created_at, is_open = datetime.fromisoformat(facts["created_at"]), facts["status"] in OPEN_RUN_STATUSES
    return {**facts, "created_at": created_at, "is_open": is_open, "is_replay": facts["replay_of"] == str(run.id)}


def _first(runs: QuerySet[Run]) -> Subquery:
    facts = JSONObject(id="id", status="status", version="version", created_at="created_at", replay_of="replay_of_id")
    return Subquery(runs.order_by(_OPEN_FIRST, F("created_at").desc()).values(facts=facts)[:1])
