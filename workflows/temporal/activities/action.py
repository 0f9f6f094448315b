"""The activity of an action step: start, effect and end of one attempt (PRODUCT 4.4).

Three transactions at most: the gathered records with the attempt's start and the claim of the idempotency key; the effect
(in the ledger's own transaction where the action only writes this database); the stored outcome with the attempt's end. A
failure of the action is a value. What is raised is infrastructure: Temporal repeats the activity, and the author's attempts
are untouched.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError, connection, transaction
from psycopg.errors import QueryCanceled
from pydantic import BaseModel, ValidationError
from temporalio import activity
from temporalio.exceptions import ApplicationError

from workflows.actions.ledger import (
    Claim,
    KeyHeld,
    Owner,
    invocation_claim,
    invocation_end,
    invocation_leave,
    invocation_renew,
)
from workflows.actions.registry import Action, ActionContext, ActionOutcomeUnknown, find_action
from workflows.database_errors import is_of_the_data
from workflows.engine.definition import RetryPolicy
from workflows.engine.errors import Category, RunError
from workflows.engine.retry import retry_delay_ms
from workflows.engine.scope import json_size
from workflows.engine.storable import storable_problem
from workflows.models import ActionInvocation
from workflows.statuses import InvocationStatus
from workflows.temporal import contracts
from workflows.temporal.activities.deadline import DeadlinePassed, within
from workflows.temporal.activities.heartbeat import heartbeats
from workflows.temporal.activities.projecting import write_records

MAX_OUTPUT_BYTES = 262_144


# No exception is thrown into the thread when the worker stops or the run is cancelled: an action that is under way ends
# by itself, or with its process, and is never taken for one that has failed.
@activity.defn(name=contracts.ACTIVITY_RUN_ACTION, no_thread_cancel_exception=True)
def run_action_activity(request: contracts.ActionRequest) -> contracts.ActionReply:
    attempt = _Attempt(request)
    with heartbeats(attempt.renew):
        try:
            output = attempt.run()
        except RunError as error:
            described = error.as_object(node_path=request.step_path, now_ms=_now_ms())
            attempt.write_end(error=described)
            return contracts.ActionReply(error=described)
        attempt.write_end(output=output)
        return contracts.ActionReply(output=output)


class _Attempt:
    def __init__(self, request: contracts.ActionRequest) -> None:
        self.request = request
        self.tenant_id, self.run_id = uuid.UUID(request.tenant_id), uuid.UUID(request.run_id)
        self._held: ActionInvocation | None = None

    def renew(self) -> None:
        if self._held is not None:
            invocation_renew(self._held)

    def run(self) -> Any:
        """The action's output, executed now or stored before.

        Errors: RunError for a failure that the workflow shall see.
        """
        action = find_action(self.request.action_id, self.request.action_version)
        if action is None:
            self._write_start()
            raise RunError(
                Category.VALIDATION,
                f"the action {self.request.action_id}@{self.request.action_version} is not registered in this worker",
                code="ACTION_UNKNOWN",
            )
        try:
            value = _validated(action, self.request.input)
        except RunError:
            self._write_start()
            raise
        claim = self._start(action, value)
        if not claim.execute:
            return _stored_output(claim)
        self._held = claim.invocation
        try:
            return self._execute(action, claim, value)
        except ActionOutcomeUnknown:
            invocation_leave(claim.invocation)
            raise
        except RunError as error:
            invocation_end(claim.invocation, error=_ledger_error(error))
            raise
        finally:
            self._held = None

    def _start(self, action: Action, value: BaseModel) -> Claim:
        with transaction.atomic():
            self._write_start()
            key = action.idempotency_key(value) if action.idempotency_key else self.request.idempotency_key
            info = activity.info()
            try:
                return invocation_claim(
                    action,
                    tenant_id=self.tenant_id,
                    run_id=self.run_id,
                    step_path=self.request.step_path,
                    iteration=self.request.iteration,
                    key=key,
                    value=self.request.input,
                    owner=Owner(f"{info.workflow_run_id}/{info.activity_id}", info.attempt),
                )
            except KeyHeld as held:
                raise ApplicationError(
                    str(held), type="KeyHeld", next_retry_delay=timedelta(seconds=held.seconds)
                ) from held

    def _execute(self, action: Action, claim: Claim, value: BaseModel) -> Any:
        context = ActionContext(
            tenant_id=self.tenant_id,
            run_id=self.run_id,
            step_path=self.request.step_path,
            idempotency_key=claim.invocation.idempotency_key,
            timeout_seconds=action.timeout_seconds,
        )
        if action.is_transactional:
            return self._execute_in_the_ledgers_transaction(action, claim, value, context)
        try:
            output = within(action.timeout_seconds, lambda: _called(action, value, context))
        except DeadlinePassed as passed:
            raise _timed_out(action, passed) from passed
        invocation_end(claim.invocation, output=output)
        return output

    def _execute_in_the_ledgers_transaction(
        self, action: Action, claim: Claim, value: BaseModel, context: ActionContext
    ) -> Any:
        try:
            with transaction.atomic(), _statement_timeout(action.timeout_seconds):
                output = _called(action, value, context)
                invocation_end(claim.invocation, output=output)
        except OperationalError as error:
            if isinstance(error.__cause__, QueryCanceled):
                raise _timed_out(action, DeadlinePassed(str(error))) from error
            raise
        return output

    # -- Projection --------------------------------------------------------------------------------------------------

    def _write_start(self) -> None:
        request = self.request
        start = self._step_record(request.start_seq, request.started_at_ms, "STARTED") | {"input": request.input}
        if not write_records([*request.records, start], tenant_id=request.tenant_id, run_id=request.run_id):
            raise ApplicationError(
                "the run was reset; this execution is of the past", type="PastEpoch", non_retryable=True
            )

    def write_end(self, *, output: Any = None, error: dict[str, Any] | None = None) -> None:
        """The attempt's end; a failed one that the author's policy repeats is RETRY_SCHEDULED, with a wait of kind retry."""
        request, now_ms = self.request, _now_ms()
        if error is None:
            records = [self._step_record(request.end_seq, now_ms, "SUCCEEDED") | {"output": output}]
        else:
            delay = retry_delay_ms(
                _policy(request.retry), attempt=request.attempt, category=error["category"], seed=request.retry_seed
            )
            status = "FAILED" if delay is None else "RETRY_SCHEDULED"
            step = self._step_record(request.end_seq, now_ms, status) | {"error": error}
            records = [step]
            if delay is not None:
                step["nextAttemptAt"] = now_ms + delay
                records.append(self._retry_wait(now_ms, now_ms + delay))
        write_records(records, tenant_id=request.tenant_id, run_id=request.run_id)

    def _step_record(self, seq: int, at_ms: int, status: str) -> dict[str, Any]:
        request = self.request
        return {
            "kind": "step",
            "seq": seq,
            "at": at_ms,
            "path": request.step_path,
            "iteration": request.iteration,
            "attempt": request.attempt,
            "id": request.step_id,
            "type": "action.call",
            "name": request.step_name,
            "status": status,
            "startedAt": request.started_at_ms,
            "actionId": request.action_id,
            "actionVersion": request.action_version,
        }

    def _retry_wait(self, now_ms: int, due_ms: int) -> dict[str, Any]:
        request = self.request
        return {
            "kind": "wait",
            "seq": request.end_seq,
            "at": now_ms,
            "id": request.retry_wait_id,
            "path": request.step_path,
            "stepId": request.step_id,
            "iteration": request.iteration,
            "waitKind": "retry",
            "status": "WAITING",
            "openedAt": now_ms,
            "deadlineAt": due_ms,
        }


def _called(action: Action, value: BaseModel, context: ActionContext) -> Any:
    """The output as JSON. A failure of the action's own code is an ActionError; a lost database is not its failure."""
    try:
        result = action.run(value, context)
        output = action.output_model.model_validate(result).model_dump(mode="json")
    except RunError:
        raise
    except Exception as error:
        if isinstance(error, OperationalError | InterfaceError) and not is_of_the_data(error):
            raise
        activity.logger.exception("the action %s raised", action.id)
        raise RunError(Category.ACTION, f"{type(error).__name__}: {error}"[:2000], code="ACTION_RAISED") from error
    unstorable = storable_problem(output)
    if unstorable is not None:
        raise RunError(
            Category.VALIDATION,
            f"the action's output {unstorable[1]} (at {unstorable[0] or '/'})",
            code="VALUE_NOT_STORABLE",
        )
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
    """For an action that only writes this database: its statements end with its time."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(int(seconds * 1000))])
    yield


def _timed_out(action: Action, passed: DeadlinePassed) -> RunError:
    if action.may_repeat:
        return RunError(Category.TIMEOUT, f"{action.id}: {passed}", code="ACTION_TIMEOUT")
    return ActionOutcomeUnknown(f"{action.id}: {passed}; whether it had its effect is not known")


def _validated(action: Action, value: Any) -> BaseModel:
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


def _stored_output(claim: Claim) -> Any:
    if claim.invocation.status == InvocationStatus.SUCCEEDED:
        return claim.invocation.output
    raise RunError(
        Category.ACTION,
        "an earlier execution with this idempotency key was lost, and nobody knows whether it had its effect",
        code="ACTION_OUTCOME_UNKNOWN",
        details={"invocationId": str(claim.invocation.id), "startedAt": claim.invocation.started_at.isoformat()},
    )


def _ledger_error(error: RunError) -> dict[str, Any]:
    described: dict[str, Any] = {"category": str(error.category), "message": error.message}
    if error.code:
        described["code"] = error.code
    if error.details:
        described["details"] = error.details
    return described


def _policy(rule: contracts.RetryRule | None) -> RetryPolicy | None:
    if rule is None:
        return None
    fields = {**vars(rule), "retry_on": None if rule.retry_on is None else tuple(rule.retry_on)}
    return RetryPolicy(**fields)


def _now_ms() -> int:
    return int(time.time() * 1000)
