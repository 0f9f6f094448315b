"""Causes of failed runs: the step at which each run failed, and the run that a chain of replays began with."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from workflows.engine.definition import Step, parse_definition
from workflows.models import DefinitionVersion, Run
from workflows.services.incidents.messages import Cause, normalised
from workflows.statuses import RunStatus

TIMED_OUT = "the run reached its time limit in Temporal"
MAX_REPLAYS_IN_CHAIN = 100


@dataclass(frozen=True)
class Failure:
    """One failed run with its cause. `message` is the message of the error as the run has it."""

    run_id: uuid.UUID
    definition_id: uuid.UUID
    version: int
    failed_at: datetime
    origin_id: uuid.UUID
    cause: Cause
    step_name: str
    step_path: str
    message: str


def failures_of(runs: Sequence[Run]) -> list[Failure]:
    """Return the failure of each run. The runs belong to one tenant and have ended.

    Cost: one statement for the versions, and one for each generation of replays.
    """
    steps = _steps(runs)
    origins = _origins(runs)
    return [_failure(run, steps.get(run.definition_version_id, {}), origins[run.id]) for run in runs]


def _failure(run: Run, steps: dict[str, Step], origin_id: uuid.UUID) -> Failure:
    error = run.error or {}
    path = str(error.get("nodePath", ""))
    step = steps.get(path)
    message = str(error.get("message", "")) or (TIMED_OUT if run.status == RunStatus.TIMED_OUT else "")
    assert run.ended_at is not None
    return Failure(
        run_id=run.id,
        definition_id=run.definition_id,
        version=run.version,
        failed_at=run.ended_at,
        origin_id=origin_id,
        cause=Cause(
            definition_id=str(run.definition_id),
            step_id=step.id if step else path,
            category=run.error_category,
            code=run.error_code,
            message=normalised(message),
        ),
        step_name=step.name if step else "",
        step_path=path,
        message=message,
    )


def _steps(runs: Sequence[Run]) -> dict[uuid.UUID, dict[str, Step]]:
    """Return the steps of each version by path. The id of a step stays equal if another version moves the step."""
    ids = {run.definition_version_id for run in runs}
    texts = DefinitionVersion.objects.filter(id__in=ids).values_list("id", "canonical_text")
    return {
        version_id: {step.path: step for steps in parse_definition(text).blocks.values() for step in steps}
        for version_id, text in texts
    }


def _origins(runs: Sequence[Run]) -> dict[uuid.UUID, uuid.UUID]:
    """Return the first run of the chain of replays, for each run."""
    originals = {run.id: run.replay_of_id or run.id for run in runs}
    unknown = set(originals.values()) - originals.keys()
    parents: dict[uuid.UUID, uuid.UUID | None] = {run.id: run.replay_of_id for run in runs}
    for _ in range(MAX_REPLAYS_IN_CHAIN):
        if not unknown:
            break
        found = dict(Run.objects.filter(id__in=unknown).values_list("id", "replay_of_id"))
        parents |= found
        unknown = {parent for parent in found.values() if parent is not None} - parents.keys()
    return {run.id: _first(run.id, parents) for run in runs}


def _first(run_id: uuid.UUID, parents: dict[uuid.UUID, uuid.UUID | None]) -> uuid.UUID:
    parent = parents.get(run_id)
    while parent is not None:
        run_id, parent = parent, parents.get(parent)
    return run_id
