"""The activity that launches a child run: its row, its pinned definition, and the parent's records.

An author's mistake is a return value, and the parent's step fails with it. Examples are an unknown workflow and a
payload that does not match the schema. The child's row and the records that refer to it are committed together.

Source: docs/reference/language.md#step-types
"""

import uuid
from typing import Any

from django.db import transaction
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workflows.engine.machine import SEMANTICS_VERSION
from workflows.engine.records import records_from_json
from workflows.errors import PortalError
from workflows.models import DefinitionVersion, Run
from workflows.services.payload_check import payload_problem
from workflows.services.runs.keys import start_check
from workflows.services.runs.launch import run_launch_child
from workflows.services.runs.origin import run_origin
from workflows.statuses import OPEN_RUN_STATUSES, RunStatus
from workflows.temporal import contracts
from workflows.temporal.activities.projecting import write_records

MAX_CHILD_DEPTH = 20


@activity.defn(name=contracts.ACTIVITY_LAUNCH_CHILD, no_thread_cancel_exception=True)
def launch_child_activity(request: contracts.ChildRequest) -> contracts.ChildLaunch:
    version = _version(request)
    error = _problem(request, version)
    if version is None or error is not None:
        _write(request)
        return contracts.ChildLaunch(error=error)
    try:
        child = _launched(request, version)
    except PortalError as refused:  # the concurrency key of the child
        _write(request)
        return contracts.ChildLaunch(error=_error(refused.code, refused.message))
    if child.status == RunStatus.STARTING and child.queued_until is not None:
        child = _checked_queue(child)
    if child.concurrency_key and child.status not in OPEN_RUN_STATUSES and not child.projection_epoch:
        message = f"the child run {child.id} was ended while it was queued: it is {child.status}"
        return contracts.ChildLaunch(error=_error("RUN_NOT_STARTED", message))
    return contracts.ChildLaunch(
        run=_run_input(request, version), workflow_id=child.temporal_workflow_id, origin=run_origin(child)
    )


def _launched(request: contracts.ChildRequest, version: DefinitionVersion) -> Run:
    """Insert or find the row of the child, and write the records of the parent, in one transaction."""
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
        _write(request)  # locks the parent's row
        parent.refresh_from_db(fields=["status"])
        if parent.status not in OPEN_RUN_STATUSES:
            # The parent was canceled in the meantime. The parent's last records have closed the children that were
            # launched before this one.
            raise ApplicationError("the parent run has ended", type="ParentEnded", non_retryable=True)
    return child


def _checked_queue(child: Run) -> Run:
    """Return the child if its concurrency key is free.

    Errors: ApplicationError while another run holds the key. Temporal then repeats the activity, up to every 20 s.
    """
    checked, _ = start_check(child.id, by_parent=True)
    if checked is None:
        return Run.objects.get(id=child.id)
    if checked.queued_until is None:
        return checked
    raise ApplicationError(
        f"the child run {child.id} is queued: another run has its concurrency key",
        type="Queued",
        category=ApplicationErrorCategory.BENIGN,  # no warning in the log, because nothing is wrong
    )


def _version(request: contracts.ChildRequest) -> DefinitionVersion | None:
    versions = DefinitionVersion.objects.select_related("definition").filter(
        tenant_id=request.tenant_id, version=request.version, definition__deleted_at=None
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
        return _error("CHILD_NOT_FOUND", f"no workflow {name} is published; publish it, or correct the step")
    if version.definition.archived_at is not None:
        return _error("CHILD_NOT_FOUND", f"{name} is archived, and archived workflows start no runs; correct the step")
    if version.definition.is_paused:
        return _error("DEFINITION_PAUSED", f"{name} is paused: {version.definition.paused_reason or 'no reason given'}")
    if request.depth > MAX_CHILD_DEPTH:
        return _error(
            "CHILD_TOO_DEEP",
            f"{name} would be a child at level {request.depth}, and at most {MAX_CHILD_DEPTH} levels are allowed;"
            " check the definitions for a child that starts itself",
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
        accepted_at_ms=request.ready_ms,
    )


def _write(request: contracts.ChildRequest) -> None:
    written = write_records(
        records_from_json(request.records),
        tenant_id=request.tenant_id,
        run_id=request.run_id,
        first_execution_id=request.first_execution_id,
    )
    if not written:
        raise ApplicationError(
            "the run was reset, so this execution is no longer the current one", type="PastEpoch", non_retryable=True
        )
