"""Shapes of projection records. Each record is one change of the projection rows of a run.

Temporal histories keep the records as JSON for years. Never rename or retype a key, and never make a key required
later.

Units: `at` and keys that end in `At` are epoch milliseconds. `seq` is the run's own sequence number.
Idempotency: a record changes a row only if the record's `seq` is higher than the `seq` of the row.
Source: docs/reference/projections.md#rows
"""

from typing import Any, Literal, NotRequired, TypedDict, cast


class RunRecord(TypedDict):
    kind: Literal["run"]
    seq: int
    at: int
    status: str
    state: str
    stepPath: str
    stepCount: int
    failedStepCount: int
    eventCount: int
    error: NotRequired[dict[str, Any]]
    # The scopes `{payload, vars, meta}` at the end of a run that succeeded. Absent under semantics version 1.
    output: NotRequired[dict[str, Any]]


class StepRecord(TypedDict):
    """One attempt of one step in one iteration."""

    kind: Literal["step"]
    seq: int
    at: int
    path: str
    iteration: str
    attempt: int
    id: str
    type: str
    status: str
    startedAt: int
    name: NotRequired[str]
    branch: NotRequired[str]
    error: NotRequired[dict[str, Any]]
    childRunId: NotRequired[str]
    nextAttemptAt: NotRequired[int]
    actionId: NotRequired[str]
    actionVersion: NotRequired[int]
    input: NotRequired[Any]
    output: NotRequired[Any]


class WaitRecord(TypedDict):
    kind: Literal["wait"]
    seq: int
    at: int
    id: str
    path: str
    stepId: str
    iteration: str
    waitKind: str
    status: str
    openedAt: int
    deadlineAt: NotRequired[int]
    eventName: NotRequired[str]
    key: NotRequired[str]
    filters: NotRequired[list[dict[str, Any]]]
    eventId: NotRequired[str]
    # Logical time from which the run could reach the wait. Absent under semantics version 1.
    readyAt: NotRequired[int]


class TaskFields(TypedDict, total=False):
    """Keys of a task record that depend on the status of the task."""

    # Keys for status `pending`.
    path: str
    stepId: str
    iteration: str
    taskType: str
    title: str
    description: str
    contextData: dict[str, Any]
    users: list[str]
    roles: list[str]
    formSchema: dict[str, Any]
    # False if the system actor may not complete the task; absent otherwise.
    allowSystem: bool
    completeOn: str
    key: str
    dueAt: int
    # Keys for status `completed`.
    response: Any
    completedBy: str
    commandId: str


class TaskRecord(TaskFields):
    """A human task. The id of the task is the id of its wait."""

    kind: Literal["task"]
    seq: int
    at: int
    id: str
    status: str


class FilterMismatch(TypedDict):
    """A filter of a wait that an event did not match. `value` comes from the filter and never from the payload."""

    code: Literal["FILTER_MISMATCH"]
    path: str
    op: str
    value: NotRequired[Any]


class VerdictRecord(TypedDict):
    """The workflow's decision about a signalled event.

    In records from before `mismatch` existed, `reason` is a complete sentence that contains the values.
    """

    kind: Literal["verdict"]
    seq: int
    at: int
    waitId: str
    eventId: str
    verdict: str
    reason: str
    mismatch: NotRequired[FilterMismatch]


class ChildRecord(TypedDict):
    """A child run that was launched and will never be started."""

    kind: Literal["child"]
    seq: int
    at: int
    id: str
    status: str


Record = RunRecord | StepRecord | WaitRecord | TaskRecord | VerdictRecord | ChildRecord


def records_to_json(records: list[Record]) -> list[dict[str, Any]]:
    """Return the same list, typed as the JSON objects of Temporal's payloads.

    The payload types must not name these shapes. Otherwise the data converter of an older worker would drop the keys
    that this worker does not know.
    """
    return cast(list[dict[str, Any]], records)


def records_from_json(records: list[dict[str, Any]]) -> list[Record]:
    """Return the same list, typed as records.

    Nothing is checked, because only the portal's own workflow writes records.
    """
    return cast(list[Record], records)
