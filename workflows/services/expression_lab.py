"""Expression lab: the value of an expression over the scopes of a run at a step, or over a stored event.

The lab writes nothing. It reads in a read-only transaction.

Redaction. Every value is redacted before the engine or an expression sees it. So no expression can read a hidden value,
also not one character of it. If a hidden value decides about the way of a run, the repetition of the run takes another
way than the run. The lab then refuses the step. If a result would change with the hidden value, the lab shows an error
instead of a wrong value.

Source: docs/reference/screens.md#expression-lab
"""

import uuid
from dataclasses import dataclass, replace
from typing import Any

from workflows.actors import Actor
from workflows.engine.clock import ms_of_datetime
from workflows.engine.expressions import limits
from workflows.engine.expressions.contract import (
    EXPRESSION_CONTRACT_VERSION,
    ExpressionError,
    Meter,
    compile_expression,
)
from workflows.engine.machine import CONTRACT_OF_SEMANTICS
from workflows.errors import InputInvalid, NotFound
from workflows.event_redaction import EventRedaction
from workflows.json_numbers import as_doubles
from workflows.models import Event, Run
from workflows.models.read_only import reading_only
from workflows.redaction import redact, rules_of
from workflows.services.hidden_values import (
    STAND_INS,
    carried,
    contains_hidden,
    hidden_paths,
    literals_of,
    mentioned_paths,
    stood_in,
)
from workflows.services.run_scopes import run_scopes
from workflows.statuses import Role

CONTRACTS = tuple(sorted(set(CONTRACT_OF_SEMANTICS.values())))
MAX_LENGTH = limits.MAX_SOURCE_LENGTH
HIDDEN_VALUE, SHOWN_PATHS = "LAB_HIDDEN_VALUE", 3


@dataclass(frozen=True)
class LabError:
    """Error of an expression. `line` and `column` count from 1. They are None if the whole result is wrong."""

    code: str
    message: str
    position: int | None
    line: int | None
    column: int | None
    suggestion: str | None


@dataclass(frozen=True)
class LabResult:
    """Result of an evaluation: the value with its type, or the error. `steps` of `step_limit` were used."""

    contract: int
    value: Any
    type: str
    error: LabError | None
    steps: int
    step_limit: int


@dataclass(frozen=True)
class LabScopes:
    """Redacted names that an expression sees, and the time of the run. `where` names the place in words."""

    view: dict[str, Any]
    now_ms: int
    where: str
    contract: int


def expression_evaluate(
    *,
    actor: Actor,
    expression: Any,
    run_id: uuid.UUID | None = None,
    step_path: str = "",
    iteration: str = "",
    event_id: uuid.UUID | None = None,
    contract: int | None = None,
) -> tuple[LabResult, LabScopes]:
    """Evaluate an expression over the scopes of a run, or over a stored event. Write nothing.

    Without a step, the scopes are those at the present position or at the end of the run. Without a contract version,
    the version of the run applies.

    Errors: PermissionRefused for a viewer; NotFound RUN_NOT_FOUND or EVENT_NOT_FOUND; InputInvalid VALIDATION_ERROR, or
    LAB_STEP_NOT_REACHED. An error of the expression is part of the result.
    """
    actor.require(Role.OPERATOR, to="use the expression lab")
    if not isinstance(expression, str) or not expression.strip():
        raise InputInvalid("`expression` must be a text that is not empty. Write an expression, for example `payload`.")
    if contract is not None and contract not in CONTRACTS:
        known = ", ".join(map(str, CONTRACTS))
        raise InputInvalid(f"There is no contract version {contract}. Use one of: {known}.")
    if (run_id is None) == (event_id is None):
        raise InputInvalid("Name either a run or an event. The expression is evaluated over its data.")
    with reading_only():
        if run_id is not None:
            scopes = _scopes_of_run(actor, run_id, step_path, iteration)
        else:
            assert event_id is not None
            scopes = _scopes_of_event(actor, event_id)
    version = contract or scopes.contract
    result = evaluate(expression, scopes.view, now_ms=scopes.now_ms, contract=version)
    return _without_guess(expression, result, scopes), scopes


def evaluate(
    source: str, view: dict[str, Any], *, now_ms: int, contract: int = EXPRESSION_CONTRACT_VERSION
) -> LabResult:
    """Evaluate an expression with the code and the limits of the engine."""
    meter, value, error = Meter(), None, None
    try:
        value = compile_expression(source, contract).evaluate(view, now_ms=now_ms, meter=meter)
    except ExpressionError as found:
        error = _error(source, found)
    kind = "error" if error else type_of(value)
    return LabResult(contract, value, kind, error, min(meter.steps, limits.MAX_STEPS), limits.MAX_STEPS)


def _without_guess(source: str, result: LabResult, scopes: LabScopes) -> LabResult:
    """Return the result, or the error LAB_HIDDEN_VALUE if the result depends on a hidden value."""
    paths = sorted(set(hidden_paths(scopes.view)))
    if not paths:
        return result
    mentioned = mentioned_paths(source, paths)
    is_shown = result.error is not None or contains_hidden(result.value) or not mentioned
    if is_shown and not _depends(source, result, scopes):
        return result
    named = ", ".join((mentioned or paths)[:SHOWN_PATHS])
    message = (
        f"The result depends on a hidden value ({named}), so it would differ from the value in the run."
        " Use a value that is shown, or ask an administrator about the redaction rules"
    )
    error = LabError(HIDDEN_VALUE, message, None, None, None, None)
    return replace(result, value=None, type="error", error=error)


def _depends(source: str, result: LabResult, scopes: LabScopes) -> bool:
    """Return True if another stand-in for the hidden values gives another result."""
    for stand_in in (*STAND_INS, *literals_of(source)):
        view = stood_in(scopes.view, stand_in)
        other = evaluate(source, view, now_ms=scopes.now_ms, contract=result.contract)
        if (other.error and other.error.code) != (result.error and result.error.code):
            return True
        if carried(other.value, stand_in) != carried(result.value, stand_in):
            return True
    return False


def type_of(value: Any) -> str:
    """Return the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "value")


def _error(source: str, error: ExpressionError) -> LabError:
    line = column = None
    if error.position is not None:
        before = source[: error.position]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    return LabError(error.code, error.message, error.position, line, column, error.suggestion)


def _scopes_of_run(actor: Actor, run_id: uuid.UUID, step_path: str, iteration: str) -> LabScopes:
    runs = Run.objects.select_related("definition_version", "parent_run")
    run = runs.filter(tenant_id=actor.tenant_id, id=run_id).first()
    if run is None:
        raise NotFound(f"There is no run {run_id}. Check the id.", code="RUN_NOT_FOUND")
    traced = run_scopes(run, step_path=step_path, iteration=iteration)
    if traced.is_end:
        where = "at the end of the run"
    elif traced.position is None:
        where = "at the present position of the run"
    else:
        loop = f" in the iteration {traced.position.iteration}" if traced.position.iteration else ""
        where = f"before the step {traced.position.path}{loop}"
    return LabScopes(traced.view, traced.now_ms, where, CONTRACT_OF_SEMANTICS.get(run.semantics_version, 1))


def _scopes_of_event(actor: Actor, event_id: uuid.UUID) -> LabScopes:
    """Return the names that the payload mapping of a trigger sees."""
    event = Event.objects.filter(tenant_id=actor.tenant_id, id=event_id).first()
    if event is None:
        raise NotFound(f"There is no event {event_id}. Check the id.", code="EVENT_NOT_FOUND")
    rules = rules_of(actor.tenant_id)
    key = EventRedaction(event, rules).key(event.correlation_key)
    seen = {
        "name": event.event_type,
        "correlationKey": key or None,
        "payload": as_doubles(redact(event.payload, rules, "/payload")),
        "payloadSchemaRef": event.payload_schema_ref or None,
    }
    now_ms = ms_of_datetime(event.received_at)
    return LabScopes({"event": seen}, now_ms, "over the event", EXPRESSION_CONTRACT_VERSION)
