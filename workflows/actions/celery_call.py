"""Action `celery.call`: run a task of another Celery application and wait for its result.

Celery cannot guarantee that a task runs only once. The action makes repeated executions of a task less likely:

- The task id is derived from the idempotency key.
- A mark in the database is committed before the message is sent. A later execution with the same key finds the mark.
  This execution then only waits for the result and sends nothing. If the input says that the task is idempotent, it
  sends the message again.
- If the task reports a failure, the next retry of the step uses another task id. So the author's retry policy can run
  the task again.

Source: docs/reference/engine.md#actions
"""

import json
import time
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_jsonable_python

from workflows.actions.celery_client import CeleryClient, TaskResult, Unreachable, Unreadable
from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext, ActionFailed, ActionOutcomeUnknown
from workflows.engine.errors import Category
from workflows.models import DataStoreEntry

# Time limit of the action, and the maximum time for which it waits for a result. The difference is for slow servers.
TIMEOUT_SECONDS = 600
MAX_WAIT_SECONDS = 570
LONGEST_PAUSE_SECONDS = 1.0
MARKS = "_celery.call"
MARKS_ARE_KEPT = timedelta(days=90)
NAMES = uuid.UUID("5f0c2c1e-6a0f-5c57-9d0e-0d6f3f6d0a1b")


class CeleryCallInput(ActionInput):
    """Input of `celery.call`. Units: `timeoutSeconds` is in seconds."""

    model_config = ConfigDict(loc_by_alias=True)

    task: str = Field(min_length=1, max_length=300)
    args: list[Any] = Field(default_factory=list)
    kwargs: dict[str, Any] = Field(default_factory=dict)
    queue: str = Field(default="celery", min_length=1, max_length=200)
    timeout_seconds: float = Field(default=60, gt=0, le=MAX_WAIT_SECONDS)
    is_idempotent: bool = Field(default=False)


class CeleryCallOutput(BaseModel):
    """Output of `celery.call`."""

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    task_id: str = Field(alias="taskId")
    result: Any


def celery_call(value: CeleryCallInput, context: ActionContext) -> CeleryCallOutput:
    """Run a task of another Celery application and return its result.

    Errors: ActionFailed if the task is not permitted, was not sent or failed; ActionOutcomeUnknown if the task may have
    run.
    """
    _require_allowed(value)
    with CeleryClient() as client:
        return _Call(client, value, context).outcome()


def _require_allowed(value: CeleryCallInput) -> None:
    allowed = settings.CELERY_CALL_TASKS
    if not any(value.task == name or (name.endswith(".*") and value.task.startswith(name[:-1])) for name in allowed):
        raise ActionFailed(
            f"The task {value.task!r} is not permitted. An administrator can add it to CELERY_CALL_TASKS.",
            category=Category.VALIDATION,
            code="CELERY_TASK_NOT_ALLOWED",
        )
    is_ours = settings.CELERY_CALL_BROKER_URL == settings.CELERY_BROKER_URL
    if is_ours and value.queue == settings.CELERY_TASK_DEFAULT_QUEUE:
        raise ActionFailed(
            f"The queue {value.queue!r} belongs to the portal, and its workers do not have the task. Set `queue` to the"
            " queue of the other application. Or an administrator can set another CELERY_QUEUE for the portal.",
            category=Category.VALIDATION,
            code="CELERY_QUEUE_NOT_ALLOWED",
        )


class _Call:
    """One execution of the action for one idempotency key."""

    def __init__(self, client: CeleryClient, value: CeleryCallInput, context: ActionContext) -> None:
        self._client, self._value, self._tenant_id = client, value, context.tenant_id
        self._until = time.monotonic() + value.timeout_seconds
        self._key = uuid.uuid5(NAMES, f"{context.tenant_id}/{context.idempotency_key}")
        mark = DataStoreEntry.objects.filter(tenant_id=self._tenant_id, namespace=MARKS, key=str(self._key)).first()
        self._round = 0
        self._may_be_running = False
        if mark is not None:
            self._may_be_running = not mark.value["ended"]
            self._round = mark.value["round"] + (1 if mark.value["ended"] else 0)
        self._task_id = str(uuid.uuid5(self._key, str(self._round)))

    def outcome(self) -> CeleryCallOutput:
        """Send the task if necessary, and return its result.

        Errors: ActionFailed, ActionOutcomeUnknown.
        """
        try:
            found = self._client.read_result(self._task_id)
            if found.is_pending and (self._value.is_idempotent or not self._may_be_running):
                self._send()
            return self._output(found if found.is_ready else self._wait_for_result())
        except Unreachable as error:
            if self._may_be_running:
                raise self._no_result(str(error), category=Category.TRANSIENT, code="CELERY_UNAVAILABLE") from error
            raise ActionFailed(
                f"{error} The task was not sent.", category=Category.TRANSIENT, code="CELERY_UNAVAILABLE"
            ) from error
        except Unreadable as error:
            raise self._invalid_result(str(error)) from error

    def _send(self) -> None:
        with self._client.connection() as connection:
            self._store_mark(ended=False)
            self._may_be_running = True
            self._client.send(
                connection,
                self._value.task,
                self._value.args,
                self._value.kwargs,
                task_id=self._task_id,
                queue=self._value.queue,
            )

    def _wait_for_result(self) -> TaskResult:
        """Wait for the result until the timeout. A short outage of the result backend does not end the wait."""
        pause, outage = 0.05, ""
        while True:
            try:
                found = self._client.read_result(self._task_id)
                outage = ""
                if found.is_ready:
                    return found
            except Unreachable as error:
                outage = f" {error}"
            left = self._until - time.monotonic()
            if left <= 0:
                raise self._no_result(
                    f"There was no result within {self._value.timeout_seconds:g} s.{outage}",
                    category=Category.TIMEOUT,
                    code="CELERY_TASK_TIMEOUT",
                )
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def _output(self, found: TaskResult) -> CeleryCallOutput:
        if found.has_succeeded:
            return CeleryCallOutput(task_id=self._task_id, result=self._as_json(found.value))
        # The mark is stored before the failure is raised. If the mark cannot be stored, the next execution reports the
        # failure.
        self._store_mark(ended=True)
        text = _exception_text(found)
        raise ActionFailed(
            f"The task {self._value.task} failed: {text}", code="CELERY_TASK_FAILED", details={"taskId": self._task_id}
        )

    def _as_json(self, value: Any) -> Any:
        """Return the result as plain JSON. Celery's JSON can also contain times, decimals and UUIDs.

        They become texts.
        """
        try:
            plain = to_jsonable_python(value)
            json.dumps(plain, allow_nan=False)
        except ValueError as error:
            raise self._invalid_result(str(error)) from error
        return plain

    def _invalid_result(self, why: str) -> ActionFailed:
        return ActionFailed(
            f"The result of the task {self._value.task} is not JSON: {why}",
            category=Category.VALIDATION,
            code="CELERY_RESULT_INVALID",
            details={"taskId": self._task_id},
        )

    def _no_result(self, why: str, *, category: str, code: str) -> ActionFailed:
        message, details = f"The task {self._value.task} has no known outcome. {why}", {"taskId": self._task_id}
        if self._value.is_idempotent:
            return ActionFailed(message, category=category, code=code, details=details)
        return ActionOutcomeUnknown(
            f"{message} The task may have run. Check its effect before you start it again.", details=details
        )

    def _store_mark(self, *, ended: bool) -> None:
        value = {"task": self._value.task, "taskId": self._task_id, "round": self._round, "ended": ended}
        DataStoreEntry.objects.update_or_create(
            tenant_id=self._tenant_id,
            namespace=MARKS,
            key=str(self._key),
            defaults={"value": value, "expires_at": timezone.now() + MARKS_ARE_KEPT},
        )


def _exception_text(found: TaskResult) -> str:
    """Return the text `Type: message` of a stored exception. Celery stores `{exc_type, exc_message, exc_module}`."""
    if not isinstance(found.value, dict):
        return found.state
    message = found.value.get("exc_message")
    parts = message if isinstance(message, list) else [message]
    text = f"{found.value.get('exc_type', found.state)}: {', '.join(str(part) for part in parts)}"
    return text[:2000].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
