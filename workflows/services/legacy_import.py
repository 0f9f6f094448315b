"""Import of runs that an older engine executed. The imported rows have `engine = 'db'` and are read-only.

Routing, the reconciler and bulk jobs skip these rows. Every request about such a run is refused with
WORKFLOW_LEGACY_RUN_READ_ONLY. If a run was open in the older engine, its status is kept and never changes.

Source: docs/reference/authority.md#projection-writers
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid
from workflows.models import Definition, DefinitionVersion, Run, RunStep, RunWait
from workflows.projections.legacy import record_legacy_runs
from workflows.statuses import Engine, RunStatus, StepStatus, TriggerType, WaitKind, WaitStatus

FORMAT = "pointsman.legacy-runs"
# Namespace of imported ids. These ids are derived from the old ids. So a second import of the same file adds nothing.
LEGACY_ROW = uuid.UUID("0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a12")


class LegacyStep(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=200)
    type: str = Field(max_length=40)
    path: str = Field(max_length=500)
    status: StepStatus
    attempt: int = Field(default=1, ge=1)
    startedAt: datetime
    endedAt: datetime | None = None
    input: Any = None
    output: Any = None
    error: dict[str, Any] | None = None


class LegacyWait(BaseModel):
    model_config = ConfigDict(extra="forbid")
    stepId: str = Field(max_length=200)
    path: str = Field(max_length=500)
    kind: WaitKind
    status: WaitStatus
    eventName: str = Field(default="", max_length=200)
    correlationKey: str = Field(default="", max_length=1000)
    openedAt: datetime
    resolvedAt: datetime | None = None


class LegacyRun(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(min_length=1, max_length=200)
    definition: str = Field(max_length=200)
    version: int = Field(ge=1)
    status: RunStatus
    input: dict[str, Any] = Field(default_factory=dict)
    state: str = Field(default="", max_length=200)
    correlationKey: str = Field(default="", max_length=1000)
    createdAt: datetime
    startedAt: datetime | None = None
    endedAt: datetime | None = None
    error: dict[str, Any] | None = None
    steps: list[LegacyStep] = Field(default_factory=list)
    waits: list[LegacyWait] = Field(default_factory=list)


@dataclass(frozen=True)
class LegacyImported:
    runs: int
    known: int


def legacy_runs_import(*, tenant_id: uuid.UUID, document: Any) -> LegacyImported:
    """Insert all runs of the document. If one run is refused, insert none.

    Shapes: `{"format": "pointsman.legacy-runs", "formatVersion": 1, "runs": [...]}`
    Idempotency: by the run's old id. A second import leaves existing rows unchanged.
    Errors: InputInvalid LEGACY_IMPORT_INVALID with the path in the document. Each definition version must be published
    in this portal first, because the run page shows the version. The operator who imports the file must act.
    """
    runs = _read(document)
    versions = _versions(tenant_id, runs)
    ids = {_id(tenant_id, "run", run.id): run for run in runs}
    known = set(Run.objects.filter(tenant_id=tenant_id, id__in=ids).values_list("id", flat=True))
    new = {
        run_id: (run, _run_row(tenant_id, run_id, run, versions[run.definition, run.version]))
        for run_id, run in ids.items()
        if run_id not in known
    }
    record_legacy_runs(
        [row for _, row in new.values()],
        [step for run, row in new.values() for step in _step_rows(run, row)],
        [wait for run, row in new.values() for wait in _wait_rows(run, row)],
    )
    return LegacyImported(runs=len(ids) - len(known), known=len(known))


def _read(document: Any) -> list[LegacyRun]:
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("formatVersion") != 1:
        raise _invalid("", f'the file must be {{"format": "{FORMAT}", "formatVersion": 1, "runs": [...]}}')
    unstorable = storable_problem(document)
    if unstorable is not None:
        raise _invalid(*unstorable)
    runs = []
    for index, value in enumerate(document.get("runs") or []):
        try:
            runs.append(LegacyRun.model_validate(value))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise _invalid("/".join(["/runs", str(index), *map(str, first["loc"])]), first["msg"]) from error
    return runs


def _versions(tenant_id: uuid.UUID, runs: list[LegacyRun]) -> dict[tuple[str, int], DefinitionVersion]:
    wanted = {(run.definition, run.version) for run in runs}
    definitions = Definition.objects.filter(tenant_id=tenant_id, key__in={key for key, _ in wanted})
    found = {
        (version.definition.key, version.version): version
        for version in DefinitionVersion.objects.select_related("definition").filter(definition__in=definitions)
    }
    missing = sorted(wanted - set(found))
    if missing:
        names = ", ".join(f"{key}@{version}" for key, version in missing)
        raise _invalid(
            "/runs", f"these versions are not published, and the run page shows them; publish them first: {names}"
        )
    return found


def _run_row(tenant_id: uuid.UUID, run_id: uuid.UUID, run: LegacyRun, version: DefinitionVersion) -> Run:
    return Run(
        id=run_id,
        tenant_id=tenant_id,
        engine=Engine.DB,
        definition=version.definition,
        definition_version=version,
        definition_key=run.definition,
        version=run.version,
        definition_hash=version.definition_hash,
        semantics_version=0,
        status=run.status,
        state=run.state,
        trigger_type=TriggerType.MANUAL,
        trigger_metadata={"legacyId": run.id},
        correlation_key=run.correlationKey,
        temporal_workflow_id=f"legacy-{run_id}",
        input=run.input,
        error=run.error,
        error_category=str((run.error or {}).get("category", ""))[:40],
        error_code=str((run.error or {}).get("code", ""))[:100],
        step_count=len(run.steps),
        failed_step_count=sum(step.status == StepStatus.FAILED for step in run.steps),
        requested_by="legacy import",
        created_at=run.createdAt,
        started_at=run.startedAt,
        ended_at=run.endedAt,
    )


def _step_rows(run: LegacyRun, row: Run) -> list[RunStep]:
    return [
        RunStep(
            tenant_id=row.tenant_id,
            run=row,
            step_path=step.path,
            step_id=step.id,
            step_type=step.type,
            status=step.status,
            attempt=step.attempt,
            input=step.input,
            output=step.output,
            error=step.error,
            started_at=step.startedAt,
            ended_at=step.endedAt,
            projection_seq=number,
        )
        for number, step in enumerate(run.steps, 1)
    ]


def _wait_rows(run: LegacyRun, row: Run) -> list[RunWait]:
    return [
        RunWait(
            tenant_id=row.tenant_id,
            run=row,
            step_path=wait.path,
            step_id=wait.stepId,
            kind=wait.kind,
            status=wait.status,
            event_name=wait.eventName,
            correlation_key=wait.correlationKey,
            opened_at=wait.openedAt,
            resolved_at=wait.resolvedAt,
            projection_seq=number,
        )
        for number, wait in enumerate(run.waits, 1)
    ]


def _id(tenant_id: uuid.UUID, kind: str, old_id: str) -> uuid.UUID:
    return uuid.uuid5(LEGACY_ROW, f"{tenant_id}/{kind}/{old_id}")


def _invalid(path: str, message: str) -> InputInvalid:
    return InputInvalid(f"{path or '/'}: {message}", code="LEGACY_IMPORT_INVALID", details={"path": path})
