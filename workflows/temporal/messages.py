"""Reading of the signals and updates that a run receives.

Any client of the namespace can send a signal with any content. Such a signal must not fail the workflow task, because
Temporal would then repeat the task for ever. So a message is read and checked here, and a message that cannot be used
raises MessageInvalid. The result depends only on the message. So a replay ignores the same messages.

The portal checks every value before it sends a message. So its own messages are always valid.
"""

import uuid
from collections.abc import Sequence
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from workflows.engine.clock import parse_moment
from workflows.engine.events import EventSignalled
from workflows.engine.storable import MAX_DEPTH, storable_problem
from workflows.temporal import contracts

Message = TypeVar("Message")
MAX_MESSAGE_DEPTH = MAX_DEPTH + 2  # the payload or response is one level below the message
# Longer texts do not fit into the columns of the rows.
MAX_LENGTHS = {"eventId": 200, "eventName": 200, "correlationKey": 1000, "completedBy": 200}


class MessageInvalid(Exception):
    """The run cannot use this message. The text gives the reason and contains no value of the message."""


def require_name(name: str, known: str) -> None:
    """Check the name of a message. Errors: MessageInvalid."""
    if name != known:
        raise MessageInvalid(f"a run has no message {name[:100]!r} of this kind; it only has {known!r}")


def read_event_signal(values: Sequence[RawValue], *, now_ms: int) -> EventSignalled:
    """Return the event of a signal for the engine.

    Errors: MessageInvalid.
    """
    signal = _read(values, contracts.TaskEventSignal)
    _require_uuid("waitId", signal.waitId)
    if signal.commandId:
        _require_uuid("commandId", signal.commandId)
    if not signal.eventId:
        raise MessageInvalid("eventId is empty")
    return EventSignalled(
        now_ms=now_ms,
        event_id=signal.eventId,
        event_name=signal.eventName,
        correlation_key=signal.correlationKey,
        wait_id=signal.waitId,
        payload=signal.payload,
        accepted_ms=parse_moment(signal.receivedAt) or 0,
        command_id=signal.commandId,
    )


def read_task_response(values: Sequence[RawValue]) -> contracts.TaskResponse:
    """Return the response of an update.

    Errors: MessageInvalid.
    """
    response = _read(values, contracts.TaskResponse)
    _require_uuid("taskId", response.taskId)
    if response.commandId:
        _require_uuid("commandId", response.commandId)
    return response


def refused(code: str, message: str) -> ApplicationError:
    """Return the error with which the validator of an update refuses it."""
    return ApplicationError(message, {"code": code}, type=contracts.UPDATE_REFUSED, non_retryable=True)


def _read(values: Sequence[RawValue], wanted: type[Message]) -> Message:
    if len(values) != 1:
        raise MessageInvalid(f"it has {len(values)} values; exactly one {wanted.__name__} is required")
    try:
        message: Any = workflow.payload_converter().from_payload(values[0].payload, wanted)
    except Exception as error:  # the converter raises errors of many types
        raise MessageInvalid(f"its value is not a {wanted.__name__}: {type(error).__name__}") from error
    if not isinstance(message, wanted):
        raise MessageInvalid(f"its value is not a {wanted.__name__}; it is {type(message).__name__}")
    fields = vars(message)
    problem = storable_problem(fields, max_depth=MAX_MESSAGE_DEPTH)
    if problem is not None:
        raise MessageInvalid(f"{problem[0]} {problem[1]}")
    for field, limit in MAX_LENGTHS.items():
        if len(fields.get(field, "")) > limit:
            raise MessageInvalid(f"{field} has more than {limit} characters")
    return message


def _require_uuid(field: str, text: str) -> None:
    try:
        is_canonical = str(uuid.UUID(text)) == text
    except ValueError:
        is_canonical = False
    if not is_canonical:
        raise MessageInvalid(f"{field} is not a UUID in lower case with hyphens")
