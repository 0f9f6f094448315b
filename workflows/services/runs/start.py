"""A person or a program starts a run (docs/reference/api.md#scope)."""

import uuid
from typing import Any

from workflows.actors import Actor
from workflows.concurrency import SlotUse, slot_use, slot_use_locked
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, DependencyDown, InputInvalid, NotFound, PortalError
from workflows.ledger import command_finish, command_refuse
from workflows.models import Command, Definition, DefinitionVersion, Run
from workflows.models.fields import new_id
from workflows.projections.writer import record_launch_undone
from workflows.services.idempotency import command_request
from workflows.services.payload_check import payload_problem
from workflows.services.roles import require_role
from workflows.services.runs.launch import run_launch
from workflows.statuses import CommandAction, CommandState, Role, TriggerType
from workflows.temporal import gateway


def run_start(
    *,
    actor: Actor,
    definition_key: str,
    payload: Any,
    version: int | None = None,
    reason: str = "",
    idempotency_key: str = "",
) -> tuple[uuid.UUID, Command]:
    """The new run's id and its ledger row: `accepted` means that Temporal has it.

    Errors: NotFound, PermissionRefused, InputInvalid (payload), Conflict (paused, archived, not published, concurrency
    limit), DependencyDown when Temporal is not reachable: then nothing but the ledger was written.
    """
    unstorable = storable_problem(payload)
    if unstorable is not None:
        require_run_start_role(actor=actor)
        raise InputInvalid(
            f"the payload {unstorable[1]}", code="PAYLOAD_INVALID", details={"path": f"/payload{unstorable[0]}"}
        )
    command, is_new = command_request(
        actor=actor,
        action=CommandAction.START_RUN,
        target_type="run",
        target_id=str(new_id()),
        reason=reason,
        payload={"definition": definition_key, "version": version, "payload": payload},
        idempotency_key=idempotency_key,
    )
    run_id = uuid.UUID(command.target_id)
    if not is_new:
        return run_id, command
    try:
        actor.require(Role.OPERATOR, to="start runs")
        pinned = _version_to_run(actor, definition_key, version)
        require_payload_fits(pinned, payload)
    except PortalError as error:
        raise command_refuse(command, error) from error
    _launch(actor, pinned, run_id, payload, command)
    return run_id, command


def require_run_start_role(*, actor: Actor) -> None:
    """For a request that cannot be taken as it was sent. Errors: PermissionRefused; the denied attempt is recorded."""
    require_role(
        actor=actor, needs=Role.OPERATOR, to="start runs", action=CommandAction.START_RUN, target_type="run"
    )  # fmt: skip


def _launch(actor: Actor, version: DefinitionVersion, run_id: uuid.UUID, payload: Any, command: Command) -> None:
    try:
        gateway.check_reachable()
        run_launch(
            version=version,
            run_id=run_id,
            payload=payload,
            trigger_type=TriggerType.MANUAL,
            trigger_metadata={"source": actor.source},
            requested_by=actor.name,
            admit=lambda: require_slot_of_version(version),
        )
    except gateway.TemporalError as error:
        raise launch_failed(actor, run_id, command, error) from error
    except Conflict as error:
        raise command_refuse(command, error) from error
    command_finish(command, CommandState.ACCEPTED)


def launch_failed(
    actor: Actor, run_id: uuid.UUID, command: Command, error: gateway.TemporalError, *, may_be_there: bool = False
) -> PortalError:
    """The error to answer. Unless Temporal may have the run, its row is taken back: nothing but the ledger was written.

    `may_be_there`: the row is of an earlier try of the same request, whose outcome nobody knows.
    """
    is_unknown = isinstance(error, gateway.TemporalTimeout) and Run.objects.filter(id=run_id).exists()
    if is_unknown or (may_be_there and not isinstance(error, gateway.TemporalInvalid)):
        failed: PortalError = DependencyDown(
            "Temporal did not answer; whether the run was started is not known yet",
            code="TEMPORAL_UNAVAILABLE",
            details={
                "error": str(error),
                "outcome": "unknown",
                "runId": str(run_id),
                "hint": "Temporal may have the run. It is started again by itself if not; do not start another.",
            },
        )
        return command_refuse(command, failed, CommandState.UNKNOWN)
    record_launch_undone(tenant_id=actor.tenant_id, run_id=run_id)
    if isinstance(error, gateway.TemporalRefused):
        failed = Conflict(
            f"Temporal refused the run: {error}",
            code="TEMPORAL_REFUSED",
            details={"error": str(error), "hint": "The run was not started. Most often its payload is too large."},
        )
    else:
        failed = DependencyDown(
            "Temporal is not reachable; the run was not started",
            code="TEMPORAL_UNAVAILABLE",
            details={"error": str(error), "hint": "See that Temporal is up, then start the run again."},
        )
    return command_refuse(command, failed)


def _version_to_run(actor: Actor, key: str, version: int | None) -> DefinitionVersion:
    definition = Definition.objects.filter(tenant_id=actor.tenant_id, key=key).first()
    if definition is None:
        raise NotFound(f"there is no definition {key!r}", code="DEFINITION_NOT_FOUND")
    _may_run(definition)
    if definition.published_version_id is None:
        raise Conflict(f"{key} has no published version", code="DEFINITION_NOT_PUBLISHED")
    wanted = definition.versions.select_related("definition")
    found = wanted.filter(id=definition.published_version_id) if version is None else wanted.filter(version=version)
    pinned = found.first()
    if pinned is None:
        raise NotFound(f"{key} has no version {version}", code="DEFINITION_VERSION_NOT_FOUND")
    _require_slot(definition, slot_use(definition))
    return pinned


def require_version_startable(version: DefinitionVersion) -> None:
    """Errors: Conflict when its definition is paused, archived, or at its concurrency limit."""
    _may_run(version.definition)
    _require_slot(version.definition, slot_use(version.definition))


def _may_run(definition: Definition) -> None:
    if definition.archived_at is not None:
        raise Conflict(f"{definition.key} is archived", code="DEFINITION_ARCHIVED")
    if definition.is_paused:
        reason = definition.paused_reason or "no reason given"
        raise Conflict(f"{definition.key} is paused: {reason}", code="DEFINITION_PAUSED")


def require_slot_of_version(version: DefinitionVersion) -> None:
    """Take a concurrency slot for the run that the current transaction inserts.

    Errors: Conflict if no slot is free.
    """
    _require_slot(version.definition, slot_use_locked(definition_id=version.definition_id))


def _require_slot(definition: Definition, use: SlotUse | None) -> None:
    if use is not None and not use.has_slot:
        raise Conflict(
            f"{definition.key} is at its concurrency limit: {use.reason}. Wait until a run ends, or raise the limit.",
            code="DEFINITION_CONCURRENCY_LIMIT",
            details={"limit": use.limit},
        )


def require_payload_fits(version: DefinitionVersion, payload: Any) -> None:
    ref = version.document()["payloadSchemaRef"]
    problem = payload_problem(payload, tenant_id=version.tenant_id, ref=ref)
    if problem is not None:
        raise InputInvalid(
            f"the payload does not fit {ref}: {problem}",
            code="PAYLOAD_INVALID",
            details={"schema": ref, "problem": problem},
        )
