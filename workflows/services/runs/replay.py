"""Replay of a run.

A replay is a new run of the version of the original run, or of the version that is published now. It has the original
input or an edited input.

A replay never resumes old state. It does not undo the work of the first run, and it does not reuse this work. The
actions run again, with the idempotency keys of the new run. The two runs refer to each other.

Source: docs/reference/authority.md#control-matrix
"""

import uuid
from collections.abc import Callable
from typing import Any

from workflows.actors import Actor
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid, PortalError
from workflows.ledger import command_finish, command_refuse, run_id_of_replay
from workflows.models import Command, DefinitionVersion, Run
from workflows.services.runs.launch import run_launch
from workflows.services.runs.replay_rules import replay_version, require_no_other_run, require_repeats_accepted
from workflows.services.runs.requests import require_run_role, run_request
from workflows.services.runs.start import (
    launch_failed,
    queue_note,
    require_payload_fits,
    require_slot_of_version,
    require_version_startable,
)
from workflows.statuses import CommandAction, CommandState, ReplayVersion, TriggerType
from workflows.temporal import gateway


def run_replay(
    *,
    actor: Actor,
    run_id: uuid.UUID,
    payload: Any = None,
    on: ReplayVersion | str = ReplayVersion.PINNED,
    allow_another_run: bool = False,
    accept_repeats: bool = False,
    reason: str = "",
    idempotency_key: str = "",
    part_of: Command | None = None,
) -> tuple[uuid.UUID, Command]:
    """Start a new run from this run. Return the id of the new run, and the command.

    The command is accepted when Temporal has the new run. This does not mean that the new run succeeds.

    If `payload` is None, the new run gets the input of the first run. `allow_another_run` and `accept_repeats` lift the
    two rules of `replay_rules`.

    Errors: the errors of `run_start`; Conflict for a run of an older engine, or if another run of the key is open or
    has succeeded; InputInvalid if actions that are not idempotent would repeat their effects.
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
        payload=_requested(payload, on, allow_another_run, accept_repeats),
        part_of=part_of,
    )
    run, command = request.run, request.command
    new_run_id = run_id_of_replay(command.id)
    if not request.is_new:
        return new_run_id, command
    new_input = run.input if payload is None else payload
    try:
        version = replay_version(run, on)
        require_version_startable(version)
        require_payload_fits(version, new_input)
        if not accept_repeats:
            require_repeats_accepted(run)
    except PortalError as error:
        raise command_refuse(command, error) from error

    def admit() -> None:
        if not allow_another_run:
            require_no_other_run(run, except_id=new_run_id)
        require_slot_of_version(version)

    _launch(actor, run, version, new_input, command, admit)
    return new_run_id, command


def _requested(payload: Any, on: str, allow_another_run: bool, accept_repeats: bool) -> dict[str, Any] | None:
    """Return the options for the ledger row. Options with their default value are left out."""
    options = {
        "payload": payload,
        "version": None if on == ReplayVersion.PINNED else str(on),
        "allowAnotherRun": allow_another_run or None,
        "acceptRepeats": accept_repeats or None,
    }
    return {name: value for name, value in options.items() if value is not None} or None


def _launch(
    actor: Actor,
    run: Run,
    version: DefinitionVersion,
    payload: Any,
    command: Command,
    admit: Callable[[], None],
) -> None:
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
            admit=None if was_there else admit,
        )
    except gateway.TemporalError as error:
        raise launch_failed(actor, new_run_id, command, error, may_exist=was_there) from error
    except PortalError as error:
        raise command_refuse(command, error) from error
    code, message = queue_note(new_run)
    command_finish(command, CommandState.ACCEPTED, code=code, message=message, details={"runId": str(new_run_id)})
