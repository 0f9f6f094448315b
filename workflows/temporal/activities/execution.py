"""Execution of an action.

This module checks the input, runs the code within the time limit, and stores the output in the action ledger.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.errors import QueryCanceled
from pydantic import BaseModel, ValidationError
from temporalio import activity

from workflows.actions.ledger import Claim, KeyLost, invocation_end
from workflows.actions.registry import Action, ActionContext, ActionOutcomeUnknown
from workflows.actions.scrubbing import scrub, scrub_error
from workflows.database_errors import is_data_error
from workflows.engine.errors import Category, RunError
from workflows.engine.sizes import json_size
from workflows.engine.storable import storable_problem
from workflows.temporal.activities.deadline import DeadlinePassed, within

MAX_OUTPUT_BYTES = 262_144


def execute(action: Action, claim: Claim, value: BaseModel, context: ActionContext) -> Any:
    """Execute the action, store its output in the action ledger, and return the output.

    An action that only writes this database is executed and stored in one transaction.

    Errors: RunError for a failure that the workflow must see; KeyLost; database errors if the connection is lost.
    """
    if action.is_transactional:
        return _execute_in_transaction(action, claim, value, context)
    try:
        late = None if action.may_repeat else partial(_store_late_result, claim)
        output = within(action.timeout_seconds, lambda: _called(action, value, context), late)
    except DeadlinePassed as passed:
        raise _timed_out(action, passed) from passed
    invocation_end(claim.invocation, output=output)
    return output


def _store_late_result(claim: Claim, output: Any, error: BaseException | None) -> None:
    """Store the result of an execution that exceeded its time limit.

    The operator then need not decide about its outcome.
    """
    if error is not None and not isinstance(error, RunError):
        activity.logger.warning("the late end of an action has no result that can be stored", exc_info=error)
        return
    try:
        invocation_end(claim.invocation, output=output, error=None if error is None else ledger_error(error))
    except KeyLost:
        activity.logger.warning("a late result of an action came after the decision about its outcome")


def ledger_error(error: RunError) -> dict[str, Any]:
    described = error.as_object(node_path="", now_ms=0)
    return {name: value for name, value in described.items() if name not in ("nodePath", "at")}


def _execute_in_transaction(action: Action, claim: Claim, value: BaseModel, context: ActionContext) -> Any:
    try:
        with transaction.atomic(), _statement_timeout(action.timeout_seconds):
            output = _called(action, value, context)
            invocation_end(claim.invocation, output=output)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise _timed_out(action, DeadlinePassed(str(error))) from error
        raise
    return output


def _called(action: Action, value: BaseModel, context: ActionContext) -> Any:
    """Call the action and return its output as JSON, without secrets.

    Errors: RunError for a failure of the action's code; database errors if the connection is lost.
    """
    try:
        result = action.run(value, context)
        output = action.output_model.model_validate(result).model_dump(mode="json")
    except RunError as error:
        raise scrub_error(error) from error.__cause__
    except Exception as error:
        if isinstance(error, OperationalError | InterfaceError) and not is_data_error(error):
            raise
        activity.logger.exception("the action %s raised", action.id)
        message = scrub(f"{type(error).__name__}: {error}")
        raise RunError(Category.ACTION, message[:2000], code="ACTION_RAISED") from error
    unstorable = storable_problem(output)
    if unstorable is not None:
        raise RunError(
            Category.VALIDATION,
            f"the action's output {unstorable[1]} (at {unstorable[0] or '/'})",
            code="VALUE_NOT_STORABLE",
        )
    output = scrub(output)
    size = json_size(output)
    if size > MAX_OUTPUT_BYTES:
        raise RunError(
            Category.VALIDATION,
            f"the action's output has {size} bytes; {MAX_OUTPUT_BYTES} are allowed",
            code="OUTPUT_TOO_LARGE",
        )
    return output


@contextmanager
def _statement_timeout(seconds: float) -> Iterator[None]:
    """Limit each SQL statement of an action that only writes this database to the action's time limit."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
    yield


def _timed_out(action: Action, passed: DeadlinePassed) -> RunError:
    if action.may_repeat:
        return RunError(Category.TIMEOUT, f"{action.id}: {passed}", code="ACTION_TIMEOUT")
    return ActionOutcomeUnknown(f"{action.id}: {passed}; whether it had its effect is unknown")


def validated_input(action: Action, value: Any) -> BaseModel:
    try:
        return action.input_model.model_validate(value)
    except ValidationError as error:
        problems = [
            {"path": ".".join(str(part) for part in problem["loc"]), "message": problem["msg"]}
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        first = problems[0]
        raise RunError(
            Category.VALIDATION,
            f"the input of {action.id} is invalid: {first['path']}: {first['message']}",
            code="ACTION_INPUT_INVALID",
            details={"problems": problems[:20]},
        ) from error
