"""Replay: a fresh run of the pinned version with the original or an edited input, linked both ways (docs/reference/authority.md#control-matrix).

Never a resume of old state: nothing that the first run did is undone or taken over, and its actions run again under keys
of the new run.
"""

import uuid
from typing import Any

from workflows.actors import Actor
from workflows.engine.storable import storable_problem
from workflows.errors import Conflict, InputInvalid, PortalError
from workflows.ledger import command_finish, command_refuse, run_id_of_replay
from workflows.models import Command, DefinitionVersion, Run
from workflows.services.runs.launch import run_launch
from workflows.services.runs.requests import require_run_role, run_request
from workflows.services.runs.start import (
    launch_failed,
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
    """The new run's id and the ledger row: `accepted` means that Temporal has the new run.

    `payload` None: the input of the run that is replayed.
    Errors: as `run_start`; Conflict for a run of an older engine.
    """
    unstorable = storable_problem(payload)
    if unstorable is not None:
        require_run_role(actor=actor, run_id=run_id, action=CommandAction.REPLAY)
        raise InputInvalid(
            f"the payload {unstorable[1]}", code="PAYLOAD_INVALID", details={"path": f"/payload{unstorable[0]}"}
        )
    run, command, is_new = run_request(
        actor=actor,
        run_id=run_id,
        action=CommandAction.REPLAY,
        reason=reason,
        idempotency_key=idempotency_key,
        payload=None if payload is None else {"payload": payload},
        part_of=part_of,
    )
    new_run_id = run_id_of_replay(command.id)
    if not is_new:
        return new_run_id, command
    version = DefinitionVersion.objects.select_related("definition").get(id=run.definition_version_id)
    given = run.input if payload is None else payload
    try:
        require_version_startable(version)
        require_payload_fits(version, given)
    except PortalError as error:
        raise command_refuse(command, error) from error
    _launch(actor, run, version, new_run_id, given, command, is_edited=given != run.input)
    return new_run_id, command


def _launch(
    actor: Actor,
    run: Run,
    version: DefinitionVersion,
    new_run_id: uuid.UUID,
    payload: Any,
    command: Command,
    *,
    is_edited: bool,
) -> None:
    # A worker that was killed after it had asked Temporal has left the row, and Temporal may have the run.
    was_there = Run.objects.filter(tenant_id=actor.tenant_id, id=new_run_id).exists()
    try:
        gateway.check_reachable()
        run_launch(
            version=version,
            run_id=new_run_id,
            payload=payload,
            trigger_type=TriggerType.REPLAY,
            trigger_metadata={"replayOf": str(run.id), "isEdited": is_edited},
            correlation_key=run.correlation_key,
            replay_of=run,
            requested_by=actor.name,
            admit=None if was_there else lambda: require_slot_of_version(version),
        )
    except gateway.TemporalError as error:
        raise launch_failed(actor, new_run_id, command, error, may_be_there=was_there) from error
    except Conflict as error:
        raise command_refuse(command, error) from error
    command_finish(command, CommandState.ACCEPTED, details={"runId": str(new_run_id)})
