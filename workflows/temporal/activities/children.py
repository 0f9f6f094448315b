"""The activity that prepares a child run: its row, its pinned definition, and the parent's records (docs/reference/language.md#step-types).

What the author got wrong (no such workflow, a payload that does not fit) comes back as a value, which the parent's step
fails with. The child's row and the records that name it are committed together.
"""

import uuid
from typing import Any

from django.db import transaction
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflows.engine.machine import SEMANTICS_VERSION
from workflows.models import DefinitionVersion, Run
from workflows.services.payload_check import payload_problem
from workflows.services.runs.launch import run_launch_child
from workflows.services.runs.origin import run_origin
from workflows.statuses import OPEN_RUN_STATUSES
from workflows.temporal import contracts
from workflows.temporal.activities.projecting import write_records

MAX_CHILD_DEPTH = 20


@activity.defn(name=contracts.ACTIVITY_LAUNCH_CHILD, no_thread_cancel_exception=True)
def launch_child_activity(request: contracts.ChildRequest) -> contracts.ChildLaunch:
    version = _version(request)
    error = _problem(request, version)
    if version is None or error is not None:
        _write(request, request.records)
        return contracts.ChildLaunch(error=error)
    with transaction.atomic():
        parent = Run.objects.get(tenant_id=request.tenant_id, id=request.run_id)
        child = run_launch_child(
            parent=parent,
            version=version,
            run_id=uuid.UUID(request.child_run_id),
            root_run_id=uuid.UUID(request.root_run_id),
            payload=request.input,
            step_path=request.step_path,
        )
        _write(request, request.records)  # takes the lock of the parent's row
        parent.refresh_from_db(fields=["status"])
        if parent.status not in OPEN_RUN_STATUSES:
            # Cancelled meanwhile: its last records have closed the children that were launched before.
            raise ApplicationError("the parent run has ended", type="ParentEnded", non_retryable=True)
    return contracts.ChildLaunch(
        run=_run_input(request, version), workflow_id=child.temporal_workflow_id, origin=run_origin(child)
    )


def _version(request: contracts.ChildRequest) -> DefinitionVersion | None:
    versions = DefinitionVersion.objects.select_related("definition").filter(
        tenant_id=request.tenant_id, version=request.version
    )
    found = versions.filter(definition__key=request.workflow).first()
    if found is None and _is_uuid(request.workflow):
        found = versions.filter(definition_id=request.workflow).first()
    return found


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _problem(request: contracts.ChildRequest, version: DefinitionVersion | None) -> dict[str, Any] | None:
    name = f"{request.workflow}@{request.version}"
    if version is None:
        return _error("CHILD_NOT_FOUND", f"no published workflow {name}")
    if version.definition.archived_at is not None:
        return _error("CHILD_NOT_FOUND", f"{name} is archived")
    if version.definition.is_paused:
        return _error("DEFINITION_PAUSED", f"{name} is paused: {version.definition.paused_reason or 'no reason given'}")
    if request.depth > MAX_CHILD_DEPTH:
        return _error(
            "CHILD_TOO_DEEP", f"{name} would be a child {request.depth} levels deep; {MAX_CHILD_DEPTH} are allowed"
        )
    ref = version.document()["payloadSchemaRef"]
    problem = payload_problem(request.input, tenant_id=version.tenant_id, ref=ref)
    return None if problem is None else _error("PAYLOAD_INVALID", f"the child's payload does not fit {ref}: {problem}")


def _error(code: str, message: str) -> dict[str, Any]:
    return {"category": "ValidationError", "code": code, "message": message}


def _run_input(request: contracts.ChildRequest, version: DefinitionVersion) -> contracts.RunInput:
    return contracts.RunInput(
        run_id=request.child_run_id,
        tenant_id=request.tenant_id,
        definition_key=version.definition.key,
        version=version.version,
        definition_text=version.canonical_text,
        definition_hash=version.definition_hash,
        semantics_version=SEMANTICS_VERSION,
        payload=request.input,
        parent_run_id=request.run_id,
        root_run_id=request.root_run_id,
        depth=request.depth,
    )


def _write(request: contracts.ChildRequest, records: list[dict[str, Any]]) -> None:
    written = write_records(
        records,
        tenant_id=request.tenant_id,
        run_id=request.run_id,
        first_execution_id=request.first_execution_id,
    )
    if not written:
        raise ApplicationError("the run was reset; this execution is of the past", type="PastEpoch", non_retryable=True)
