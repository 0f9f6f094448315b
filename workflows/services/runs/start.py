"""Start of a run by a person or an API client (docs/reference/authority.md#control-matrix)."""

import uuid
from typing import Any

from workflows.actors import Actor
from workflows.concurrency import SlotUse, slot_use, slot_use_locked
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, DependencyDown, InputInvalid, NotFound, PortalError
from workflows.ledger import command_finish, command_refuse
from workflows.models import Command, Definition, DefinitionVersion, Run
from workflows.models.fields import new_id
from workflows.projections.launches import record_launch_undone
from workflows.services.idempotency import command_request
from workflows.services.payload_check import payload_problem
from workflows.services.roles import require_role
from workflows.services.runs.launch import run_launch
from workflows.statuses import CommandAction, CommandState, Role, TriggerType
from workflows.temporal import gateway
from workflows.tenant_starts import require_start_allowed


def run_start(
    *,
    actor: Actor,
    definition_key: str,
    payload: Any,
    version: int | None = None,
    reason: str = "",
    idempotency_key: str = "",
) -> tuple[uuid.UUID, Command]:
    """Start a run. Return the id of the run, and the command. The command is accepted when Temporal has the run.

    Errors: NotFound, PermissionRefused; InputInvalid (payload); Conflict (paused, archived, not published, concurrency
    limit); DependencyDown if Temporal is not reachable. In the last case, only the ledger row was written.
    """
    unstorable = storable_problem(payload)
    if unstorable is not None:
        require_run_start_role(actor=actor)
        raise InputInvalid(
            f"the payload {unstorable[1]}", code="PAYLOAD_INVALID", details={"path": f"/payload{unstorable[0]}"}
        )
    request = command_request(
        actor=actor,
        action=CommandAction.START_RUN,
        target_type="run",
        target_id=str(new_id()),
        reason=reason,
        payload={"definition": definition_key, "version": version, "payload": payload},
        idempotency_key=idempotency_key,
    )
    command = request.command
    run_id = uuid.UUID(command.target_id)
    if not request.is_new:
        return run_id, command
    try:
        actor.require(Role.OPERATOR, to="start runs")
        chosen = _version_to_run(actor, definition_key, version)
        require_payload_fits(chosen, payload)
    except PortalError as error:
        raise command_refuse(command, error) from error
    _launch(actor, chosen, run_id, payload, command)
    return run_id, command


def require_run_start_role(*, actor: Actor) -> None:
    """Refuse an actor who may not start runs.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    require_role(actor=actor, needs=Role.OPERATOR, to="start runs", action=CommandAction.START_RUN, target_type="run")


def _launch(actor: Actor, version: DefinitionVersion, run_id: uuid.UUID, payload: Any, command: Command) -> None:
    try:
        gateway.check_reachable()
        run = run_launch(
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
    except PortalError as error:
        raise command_refuse(command, error) from error
    code, message = queue_note(run)
    command_finish(command, CommandState.ACCEPTED, code=code, message=message)


def queue_note(run: Run) -> tuple[str, str]:
    """Return code and message for the command that started a run. They are empty if the start is not queued."""
    if run.queued_until is None:
        return "", ""
    return "START_QUEUED", "another run with the same concurrency key is open; the run starts when that run has ended"


def launch_failed(
    actor: Actor, run_id: uuid.UUID, command: Command, error: gateway.TemporalError, *, may_exist: bool = False
) -> PortalError:
    """Write the error of a failed launch to the ledger and return the error.

    If Temporal has no run, delete the run's row.

    `may_exist`: an earlier attempt of the same request inserted the row, and the outcome of that attempt is unknown.
    """
    is_unknown = isinstance(error, gateway.TemporalTimeout) and Run.objects.filter(id=run_id).exists()
    if is_unknown or (may_exist and not isinstance(error, gateway.TemporalInvalid)):
        failed: PortalError = DependencyDown(
            "Temporal did not respond; it is not known yet if the run was started",
            code="TEMPORAL_UNAVAILABLE",
            details={
                "error": str(error),
                "outcome": "unknown",
                "runId": str(run_id),
                "hint": "Do not start another run. If Temporal does not have the run, the reconciler starts it.",
            },
        )
        return command_refuse(command, failed, CommandState.UNKNOWN)
    record_launch_undone(tenant_id=actor.tenant_id, run_id=run_id)
    if isinstance(error, gateway.TemporalRefused):
        failed = Conflict(
            f"Temporal refused the run: {error}",
            code="TEMPORAL_REFUSED",
            details={
                "error": str(error),
                "hint": "The run was not started. The most frequent cause is a payload that is too large.",
            },
        )
    else:
        failed = DependencyDown(
            "Temporal is not reachable; the run was not started",
            code="TEMPORAL_UNAVAILABLE",
            details={"error": str(error), "hint": "Restore Temporal, then start the run again."},
        )
    return command_refuse(command, failed)


def _version_to_run(actor: Actor, key: str, version: int | None) -> DefinitionVersion:
    definition = Definition.objects.filter(tenant_id=actor.tenant_id, key=key).first()
    if definition is None:
        raise NotFound(f"there is no definition {key!r} in this tenant", code="DEFINITION_NOT_FOUND")
    require_definition_startable(definition)
    if definition.published_version_id is None:
        raise Conflict(f"{key} has no published version; publish its draft first", code="DEFINITION_NOT_PUBLISHED")
    wanted = definition.versions.select_related("definition")
    found = wanted.filter(id=definition.published_version_id) if version is None else wanted.filter(version=version)
    chosen = found.first()
    if chosen is None:
        raise NotFound(f"{key} has no version {version}", code="DEFINITION_VERSION_NOT_FOUND")
    _require_slot(definition, slot_use(definition))
    return chosen


def require_version_startable(version: DefinitionVersion) -> None:
    """Refuse to start a run if this version cannot be started now.

    Errors: Conflict if the definition is paused, archived, or at its concurrency limit.
    """
    require_definition_startable(version.definition)
    _require_slot(version.definition, slot_use(version.definition))


def require_definition_startable(definition: Definition) -> None:
    """Refuse to start a run of a definition that starts no runs now.

    Errors: Conflict DEFINITION_ARCHIVED, DEFINITION_PAUSED.
    """
    if definition.archived_at is not None:
        raise Conflict(f"{definition.key} is archived and starts no more runs", code="DEFINITION_ARCHIVED")
    if definition.is_paused:
        reason = definition.paused_reason or "no reason given"
        raise Conflict(
            f"{definition.key} is paused ({reason}); an author must resume it first", code="DEFINITION_PAUSED"
        )


def require_slot_of_version(version: DefinitionVersion) -> None:
    """Take a concurrency slot for the run that the current transaction inserts.

    Errors: Conflict if no slot is free; the errors of `require_start_allowed`.
    """
    require_start_allowed(version.tenant_id)
    _require_slot(version.definition, slot_use_locked(definition_id=version.definition_id))


def _require_slot(definition: Definition, use: SlotUse | None) -> None:
    if use is not None and not use.has_slot:
        raise Conflict(
            f"{definition.key} is at its concurrency limit: {use.reason}. Wait until a run ends, or raise the limit.",
            code="DEFINITION_CONCURRENCY_LIMIT",
            details={"limit": use.limit},
        )


def require_payload_fits(version: DefinitionVersion, payload: Any) -> None:
    """Refuse a payload that does not fit the payload schema of this version.

    Errors: InputInvalid PAYLOAD_INVALID.
    """
    ref = version.document()["payloadSchemaRef"]
    problem = payload_problem(payload, tenant_id=version.tenant_id, ref=ref)
    if problem is not None:
        raise InputInvalid(
            f"the payload does not fit {ref}: {problem}",
            code="PAYLOAD_INVALID",
            details={"schema": ref, "problem": problem},
        )
