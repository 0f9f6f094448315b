"""Replay of a run.

A replay is a new run of the same definition version, with the original input or with an edited input.

A replay never resumes old state. It does not undo the work of the first run, and it does not reuse this work. The
actions run again, with the idempotency keys of the new run. The two runs refer to each other.

Source: docs/reference/authority.md#control-matrix
"""

import uuid
from typing import Any

from workflows.actors import Actor
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid, PortalError
from workflows.ledger import command_finish, command_refuse, run_id_of_replay
from workflows.models import Command, DefinitionVersion, Run
from workflows.services.runs.launch import run_launch
from workflows.services.runs.requests import require_run_role, run_request
from workflows.services.runs.start import (
    launch_failed,
    queue_note,
    require_payload_fits,
    require_slot_of_version,
    require_version_startable,
)
from workflows.statuses import CommandAction, CommandState, TriggerType
from workflows.temporal import gateway


def run_replay(
    *,
    actor: Actor,
    run_id: uuid.UUID,
    payload: Any = None,
    reason: str = "",
    idempotency_key: str = "",
    part_of: Command | None = None,
) -> tuple[uuid.UUID, Command]:
    """Start a new run from this run. Return the id of the new run, and the command.

    The command is accepted when Temporal has the new run.

    If `payload` is None, the new run gets the input of the first run.

    Errors: the errors of `run_start`; Conflict for a run of an older engine.
    """
    unstorable = storable_problem(payload)
    if unstorable is not None:
        require_run_role(actor=actor, run_id=run_id, action=CommandAction.REPLAY)
        raise InputInvalid(
            f"the payload {unstorable[1]}", code="PAYLOAD_INVALID", details={"path": f"/payload{unstorable[0]}"}
        )
    request = run_request(
        actor=actor,
        run_id=run_id,
        action=CommandAction.REPLAY,
        reason=reason,
        idempotency_key=idempotency_key,
        payload=None if payload is None else {"payload": payload},
        part_of=part_of,
    )
    run, command = request.run, request.command
    new_run_id = run_id_of_replay(command.id)
    if not request.is_new:
        return new_run_id, command
    version = DefinitionVersion.objects.select_related("definition").get(id=run.definition_version_id)
    new_input = run.input if payload is None else payload
    try:
        require_version_startable(version)
        require_payload_fits(version, new_input)
    except PortalError as error:
        raise command_refuse(command, error) from error
    _launch(actor, run, version, new_input, command)
    return new_run_id, command


def _launch(actor: Actor, run: Run, version: DefinitionVersion, payload: Any, command: Command) -> None:
    new_run_id = run_id_of_replay(command.id)
    # If this row exists, a worker sent the request before and was killed. Temporal may then have the run.
    was_there = Run.objects.filter(tenant_id=actor.tenant_id, id=new_run_id).exists()
    try:
        gateway.check_reachable()
        new_run = run_launch(
            version=version,
            run_id=new_run_id,
            payload=payload,
            trigger_type=TriggerType.REPLAY,
            trigger_metadata={"replayOf": str(run.id), "isEdited": payload != run.input},
            correlation_key=run.correlation_key,
            replay_of=run,
            requested_by=actor.name,
            admit=None if was_there else lambda: require_slot_of_version(version),
        )
    except gateway.TemporalError as error:
        raise launch_failed(actor, new_run_id, command, error, may_exist=was_there) from error
    except PortalError as error:
        raise command_refuse(command, error) from error
    code, message = queue_note(new_run)
    command_finish(command, CommandState.ACCEPTED, code=code, message=message, details={"runId": str(new_run_id)})
