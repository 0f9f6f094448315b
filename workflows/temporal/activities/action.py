"""The activity of an action step: start, effect and end of one attempt (docs/reference/engine.md#actions).

The activity uses at most three transactions:

1. the gathered records, the start of the attempt, and the claim of the idempotency key
2. the effect; an action that only writes this database stores its output in the same transaction
3. the stored output, if it is not stored yet, and the end of the attempt

A failure of the action is a return value. An exception means an infrastructure failure. Temporal then repeats the
activity, and the repetition uses up no attempt of the author.

Secrets are in clear text only between `_secrets` and the end of the action. Rows and the action ledger store
`request.input`, which has `{"$secret": NAME}` in place of each secret. All output is scrubbed of secrets.
"""

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel
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
from workflows.actions.lookup import tenant_action
from workflows.actions.output_schemas import output_schema
from workflows.actions.registry import Action, ActionContext, ActionOutcomeUnknown
from workflows.actions.scrubbing import scrub, scrubbing
from workflows.engine.clock import ms_of_datetime
from workflows.engine.errors import Category, RunError
from workflows.engine.keys import correlation_key
from workflows.engine.records import Record, records_from_json
from workflows.engine.secret_places import with_secrets
from workflows.engine.unknown_outcomes import DECIDE
from workflows.models import ActionInvocation
from workflows.services.missing_actions import missing_action_clear, missing_action_note
from workflows.services.secrets import secret_values
from workflows.statuses import InvocationStatus
from workflows.temporal import contracts
from workflows.temporal.activities.execution import execute, ledger_error, validated_input
from workflows.temporal.activities.heartbeat import heartbeats
from workflows.temporal.activities.projecting import write_records
from workflows.temporal.activities.written_ends import written_reply
from workflows.temporal.attempt_records import end_records, start_record

# If a worker does not have the action, the activity is repeated after a pause. This is the longest pause.
MISSING_ACTION_PAUSE_SECONDS = 30


# When the worker stops or the run is canceled, no exception is raised in the thread of the action. The action ends by
# itself or with its process. So the portal never records it as failed by mistake.
@activity.defn(name=contracts.ACTIVITY_RUN_ACTION, no_thread_cancel_exception=True)
def run_action_activity(request: contracts.ActionRequest) -> contracts.ActionReply:
    written = written_reply(request)
    if written is not None:
        return written
    attempt = _Attempt(request)
    with heartbeats(attempt.renew):
        try:
            output = attempt.run()
        except ActionOutcomeUnknown as error:
            described = error.as_object(node_path=request.step_path, now_ms=_now_ms())
            return attempt.write_end(error=described, unknown=attempt.unknown_outcome())
        except RunError as error:
            described = error.as_object(node_path=request.step_path, now_ms=_now_ms())
            return attempt.write_end(error=described)
        return attempt.write_end(output=output)


class _Attempt:
    def __init__(self, request: contracts.ActionRequest) -> None:
        self.request = request
        self.tenant_id, self.run_id = uuid.UUID(request.tenant_id), uuid.UUID(request.run_id)
        self._held: ActionInvocation | None = None
        self._own_secrets: dict[str, str] = {}
        self._claimed: tuple[Action, ActionInvocation] | None = None

    def renew(self) -> None:
        if self._held is not None:
            invocation_renew(self._held)

    def run(self) -> Any:
        """Execute the action and return its output. If an output is already stored, return the stored output.

        Errors: RunError for a failure that the workflow must see.
        """
        action = tenant_action(
            tenant_id=self.tenant_id, action_id=self.request.action_id, version=self.request.action_version
        )
        if action is None:
            raise self._missing()
        if activity.info().attempt > 1:
            missing_action_clear(tenant_id=self.tenant_id, run_id=self.run_id)
        try:
            secrets = self._secrets(action)
        except RunError:
            self._write_start()
            raise
        self._own_secrets = {name: secrets[name] for name in action.secret_names}
        with scrubbing(secrets):
            return self._run(action, secrets)

    def _missing(self) -> ApplicationError:
        """Return the error that repeats the activity until a worker has the action.

        A worker of another release may have the action. So the run must not fail, and no attempt of the author is used
        up.
        """
        name = f"{self.request.action_id}@{self.request.action_version}"
        self._write_start()
        missing_action_note(tenant_id=self.tenant_id, run_id=self.run_id, action=name)
        pause = min(2 ** min(activity.info().attempt - 1, 10), MISSING_ACTION_PAUSE_SECONDS)
        return ApplicationError(
            f"no worker has {name}; this worker does not register it. Start a worker with the app that registers it",
            type="ActionMissing",
            next_retry_delay=timedelta(seconds=pause),
        )

    def _secrets(self, action: Action) -> dict[str, str]:
        """Return the values of the secrets that the definition or the action refers to, by name. Errors: RunError."""
        names = {place["name"] for place in self.request.secrets}
        if names and not action.may_take_secrets:
            raise RunError(
                Category.VALIDATION,
                f"{action.id}@{action.version} takes no secrets, because it would store them in clear text;"
                " remove the secret from its input",
                code="SECRET_NOT_ALLOWED",
            )
        names |= action.secret_names
        return secret_values(tenant_id=self.tenant_id, names=names) if names else {}

    def _run(self, action: Action, secrets: dict[str, str]) -> Any:
        try:
            value = validated_input(action, with_secrets(self.request.input, self.request.secrets, secrets))
        except RunError:
            self._write_start()
            raise
        claim = self._start(action, value)
        self._claimed = action, claim.invocation
        if not claim.execute:
            return _stored_output(claim)
        self._held = claim.invocation
        try:
            return self._execute(action, claim, value)
        except ActionOutcomeUnknown:
            invocation_leave(claim.invocation)
            raise
        except RunError as error:
            invocation_end(claim.invocation, error=ledger_error(error))
            raise
        finally:
            self._held = None

    def _start(self, action: Action, value: BaseModel) -> Claim:
        with transaction.atomic():
            self._write_start()
            key = action_key(action, value) or self.request.idempotency_key
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
                    decision=self.request.decision,
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
            secrets=self._own_secrets,
        )
        return execute(action, claim, value, context)

    # -- Projection --------------------------------------------------------------------------------------------------

    def _write_start(self) -> None:
        request = self.request
        if not self._write([*records_from_json(request.records), start_record(request)]):
            raise ApplicationError(
                "the run was reset, so this execution is no longer the current one",
                type="PastEpoch",
                non_retryable=True,
            )

    def unknown_outcome(self) -> dict[str, Any] | None:
        """Return the facts that the workflow shows to the operator. Return None if the step fails at once."""
        if self._claimed is None or self.request.on_unknown != DECIDE:
            return None
        action, invocation = self._claimed
        return {
            "executions": invocation.executions,
            "startedAt": invocation.started_at.isoformat(),
            "invocationId": str(invocation.id),
            "idempotencyKey": invocation.idempotency_key,
            "decisionMs": int(settings.ACTION_DECISION_SECONDS * 1000),
            "outputSchema": output_schema(action),
        }

    def write_end(
        self, *, output: Any = None, error: dict[str, Any] | None = None, unknown: dict[str, Any] | None = None
    ) -> contracts.ActionReply:
        """Write the end of the attempt and return the reply to the workflow.

        The reply carries the time of the end. The history then contains the time, and a rebuild writes the same row. If
        another execution of the activity has written the end first, its row decides.
        """
        now_ms = _now_ms()
        records = end_records(self.request, now_ms=now_ms, output=output, error=error, unknown=unknown)
        if records:
            self._write(records)
        written = written_reply(self.request) if records else None
        return written or contracts.ActionReply(output=output, error=error, ended_at_ms=now_ms, unknown=unknown)

    def _write(self, records: list[Record]) -> bool:
        request = self.request
        return write_records(
            records,
            tenant_id=request.tenant_id,
            run_id=request.run_id,
            first_execution_id=request.first_execution_id,
        )


def _stored_output(claim: Claim) -> Any:
    if claim.invocation.status == InvocationStatus.SUCCEEDED:
        return claim.invocation.output
    if claim.invocation.status == InvocationStatus.FAILED:
        raise _stored_error(claim.invocation.error or {})
    invocation_leave(claim.invocation)
    raise ActionOutcomeUnknown(
        "an earlier execution with this idempotency key was lost, and whether it had its effect is unknown;"
        " check the effect before you start the action again",
        details={"invocationId": str(claim.invocation.id), "startedAt": claim.invocation.started_at.isoformat()},
    )


def _stored_error(stored: dict[str, Any]) -> RunError:
    return RunError(
        Category(stored.get("category", Category.ACTION)),
        str(stored.get("message", "the action failed")),
        code=stored.get("code"),
        details=stored.get("details"),
    )


def action_key(action: Action, value: BaseModel) -> str:
    """Return the key that the action computes from its input. It is empty if the action computes no key for this input.

    Errors: RunError if the action's code raises, or does not return a text or a number.
    """
    if action.idempotency_key is None:
        return ""
    try:
        computed = action.idempotency_key(value)
        if computed is None:
            return ""
        key = correlation_key(computed)
    except Exception as error:
        activity.logger.exception("the action %s could not compute its idempotency key", action.id)
        raise RunError(Category.ACTION, f"{type(error).__name__}: {error}", code="ACTION_RAISED") from error
    if key is None:
        raise RunError(
            Category.ACTION, f"{action.id} returned no usable idempotency key for this input", code="ACTION_RAISED"
        )
    return str(scrub(key))


def _now_ms() -> int:
    return ms_of_datetime(timezone.now())
