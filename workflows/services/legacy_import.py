"""History of runs that an older engine executed, imported to be read (docs/reference/authority.md#projection-writers, docs/reference/authority.md#control-matrix): rows with `engine = 'db'`.

Such rows are never acted on: routing, reconciler and bulk skip them, and every request is refused with
WORKFLOW_LEGACY_RUN_READ_ONLY. An open status of the older engine is kept as it was: nothing will move it here.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid
from workflows.models import Definition, DefinitionVersion, Run, RunStep, RunWait
from workflows.projections.writer import projection_writer
from workflows.statuses import Engine, RunStatus, StepStatus, TriggerType, WaitKind, WaitStatus

FORMAT = "pointsman.legacy-runs"
# An imported row has an id made of the old one, so that a second import of the same file adds nothing.
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
    """Insert the runs of a document `{"format": "pointsman.legacy-runs", "formatVersion": 1, "runs": [...]}`, all or none.

    Idempotency: by the run's old id; a second import leaves what is there.
    Errors: InputInvalid LEGACY_IMPORT_INVALID with the place; the definition and version must be published here, because
    the page of a run shows what it ran.
    """
    runs = _read(document)
    versions = _versions(tenant_id, runs)
    ids = {_id(tenant_id, "run", run.id): run for run in runs}
    known = set(Run.objects.filter(tenant_id=tenant_id, id__in=ids).values_list("id", flat=True))
    with projection_writer("legacy import"):
        for run_id, run in ids.items():
            if run_id not in known:
                _insert(tenant_id, run_id, run, versions[run.definition, run.version])
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
        raise _invalid("/runs", f"publish these first, so that their runs can be read: {names}")
    return found


def _insert(tenant_id: uuid.UUID, run_id: uuid.UUID, run: LegacyRun, version: DefinitionVersion) -> None:
    row = Run.objects.create(
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
    RunStep.objects.bulk_create(
        RunStep(
            tenant_id=tenant_id, run=row, step_path=step.path, step_id=step.id, step_type=step.type, status=step.status,
            attempt=step.attempt, input=step.input, output=step.output, error=step.error, started_at=step.startedAt,
            ended_at=step.endedAt, projection_seq=number,
        )
        for number, step in enumerate(run.steps, 1)
    )  # fmt: skip
    RunWait.objects.bulk_create(
        RunWait(
            tenant_id=tenant_id, run=row, step_path=wait.path, step_id=wait.stepId, kind=wait.kind, status=wait.status,
            event_name=wait.eventName, correlation_key=wait.correlationKey, opened_at=wait.openedAt,
            resolved_at=wait.resolvedAt, projection_seq=number,
        )
        for number, wait in enumerate(run.waits, 1)
    )  # fmt: skip


def _id(tenant_id: uuid.UUID, kind: str, old_id: str) -> uuid.UUID:
    return uuid.uuid5(LEGACY_ROW, f"{tenant_id}/{kind}/{old_id}")


def _invalid(path: str, message: str) -> InputInvalid:
    return InputInvalid(f"{path or '/'}: {message}", code="LEGACY_IMPORT_INVALID", details={"path": path})
