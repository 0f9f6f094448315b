"""Test call of a connector: the real request with the real secrets, without a run.

Source: docs/reference/engine.md#http-connectors
"""

import uuid
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from workflows.actions.connector_spec import ConnectorSpec
from workflows.actions.connectors import connector_call, connector_request, without_secrets
from workflows.actions.registry import ActionContext
from workflows.actions.schema_model import schema_model
from workflows.actions.scrubbing import scrub, scrub_error, scrubbing
from workflows.actors import Actor
from workflows.engine.errors import Category, RunError
from workflows.engine.storable import storable_problem
from workflows.errors import InputInvalid
from workflows.ledger import command_failures_recorded, command_finish, target_name
from workflows.models import Connector
from workflows.redaction import redact, rules_of
from workflows.services.connectors import connector_find
from workflows.services.idempotency import CommandRepeated, command_request
from workflows.services.roles import require_role
from workflows.services.secrets import secret_values
from workflows.statuses import CommandAction, CommandState, Role


@dataclass(frozen=True)
class ConnectorTrial:
    """Result of a test call. It contains no value of a secret, and the tenant's redaction rules are applied.

    Shapes: `request` is `{method, url, query, headers, body}`, or None if the request could not be built. `error` is
    `{category, message, code?, details?}`, or None if the call succeeded.
    """

    request: dict[str, Any] | None
    output: Any = None
    error: dict[str, Any] | None = None


def connector_try(
    *, actor: Actor, action_id: str, version: int, value: Any, idempotency_key: str = ""
) -> ConnectorTrial:
    """Send the request of a connector for this input, and return what was sent and what came back.

    The other system receives a real request, so the call can have an effect there. A failed call is a result and not an
    error of this function. Do not open a transaction around this function, because it waits for the other system.

    Errors: PermissionRefused, NotFound; InputInvalid PAYLOAD_INVALID; CommandRepeated if the idempotency key was used
    before.
    """
    unstorable = storable_problem(value)
    if unstorable is not None:
        require_trial_role(actor=actor, action_id=action_id, version=version)
        raise InputInvalid(
            f"the input {unstorable[1]}", code="PAYLOAD_INVALID", details={"path": f"/input{unstorable[0]}"}
        )
    request = command_request(
        actor=actor,
        action=CommandAction.TEST_CONNECTOR,
        target_type="connector",
        target_id=target_name(action_id),
        payload={"version": version, "input": value},
        idempotency_key=idempotency_key,
    )
    command = request.command
    if not request.is_new:
        raise CommandRepeated(command)
    with command_failures_recorded([command]):
        row = connector_find(tenant_id=actor.tenant_id, action_id=action_id, version=version)
        actor.require(Role.AUTHOR, to="test connectors")
        trial = _tried(row, value, key=f"test/{command.id}")
    error = trial.error or {}
    outcome = {"succeeded": trial.error is None, "code": error.get("code"), "message": error.get("message")}
    details = {name: item for name, item in outcome.items() if item is not None}
    command_finish(command, CommandState.OBSERVED, details=details)
    rules = rules_of(actor.tenant_id)
    return ConnectorTrial(
        redact(trial.request, rules), redact(trial.output, rules, "/output"), redact(trial.error, rules, "/error")
    )


def require_trial_role(*, actor: Actor, action_id: str, version: int) -> None:
    """Refuse an actor who may not test connectors.

    Errors: NotFound; PermissionRefused, and the attempt is recorded in the ledger.
    """
    connector_find(tenant_id=actor.tenant_id, action_id=action_id, version=version)
    require_role(
        actor=actor,
        needs=Role.AUTHOR,
        to="test connectors",
        action=CommandAction.TEST_CONNECTOR,
        target_type="connector",
        target_id=target_name(action_id),
    )


def _tried(row: Connector, value: Any, *, key: str) -> ConnectorTrial:
    spec = ConnectorSpec.model_validate(row.spec)
    try:
        schema_model("ConnectorInput", spec.input_schema).model_validate(value)
        names = spec.secret_names()
        secrets = secret_values(tenant_id=row.tenant_id, names=names) if names else {}
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        message = f"the input is invalid: /{'/'.join(map(str, first['loc']))} {first['msg']}"
        return ConnectorTrial(
            None, error=_described(RunError(Category.VALIDATION, message, code="ACTION_INPUT_INVALID"))
        )
    except RunError as error:
        return ConnectorTrial(None, error=_described(error))
    shown = None
    with scrubbing(secrets):
        context = ActionContext(
            tenant_id=row.tenant_id,
            run_id=uuid.UUID(int=0),
            step_path="",
            idempotency_key=key,
            timeout_seconds=spec.timeout_seconds,
            secrets=secrets,
        )
        try:
            shown = without_secrets(connector_request(spec, value, secrets=secrets, idempotency_key=key))
            output = connector_call(spec, value, context, schema_model("ConnectorOutput", spec.output_schema))
        except RunError as error:
            return ConnectorTrial(shown, error=_described(scrub_error(error)))
        return ConnectorTrial(shown, output=scrub(output.root))


def _described(error: RunError) -> dict[str, Any]:
    described = error.as_object(node_path="", now_ms=0)
    return {name: item for name, item in described.items() if name not in ("nodePath", "at")}
