"""Wire names and payload types between client, workflow and activities. They only grow: histories hold them for years.

A new field gets a default; a field is never renamed, retyped or given another meaning.
"""

from dataclasses import dataclass, field
from typing import Any

RUN_WORKFLOW = "pointsman-run"

ACTIVITY_RUN_ACTION = "run-action"
ACTIVITY_OPEN_WAIT = "open-wait"
ACTIVITY_WRITE_RECORDS = "write-records"

SIGNAL_EVENT = "event"

QUERY_SUMMARY = "summary"
QUERY_CURRENT_STEP = "current-step"
QUERY_CURRENT_WAIT = "current-wait"


@dataclass
class RunInput:
    """What starts a run. The definition travels as its canonical text, because key order is meaning in it."""

    run_id: str
    tenant_id: str
    definition_key: str
    version: int
    definition_text: str
    definition_hash: str
    semantics_version: int
    payload: dict[str, Any]
    trigger_event_id: str = ""
    parent_run_id: str = ""
    root_run_id: str = ""


@dataclass
class RunResult:
    """What the workflow returns: the scopes at the end."""

    status: str
    payload: dict[str, Any]
    vars: dict[str, Any]
    meta: dict[str, Any]


@dataclass
class RetryRule:
    max_attempts: int
    backoff_ms: int
    backoff_multiplier: float
    jitter: bool
    max_delay_ms: int | None = None
    retry_on: list[str] | None = None


@dataclass
class ActionRequest:
    """One attempt of one action step; the activity also projects its start and its end."""

    run_id: str
    tenant_id: str
    step_id: str
    step_name: str
    step_path: str
    iteration: str
    attempt: int
    action_id: str
    action_version: int
    input: Any
    idempotency_key: str
    retry_seed: str
    retry_wait_id: str
    started_at_ms: int
    start_seq: int
    end_seq: int
    retry: RetryRule | None = None
    records: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class ActionReply:
    """An author's failure is a value: `error` is `{category, message, nodePath, at, code?, details?}`."""

    output: Any = None
    error: dict[str, Any] | None = None


@dataclass
class RecordsRequest:
    """Projection records to write; for `open-wait` with the wait that has just been opened."""

    run_id: str
    tenant_id: str
    records: list[dict[str, Any]]
    wait_id: str = ""


@dataclass
class EventSignal:
    """Shapes: as PRODUCT 5.3 has them on the wire."""

    eventId: str
    eventName: str
    correlationKey: str
    waitId: str
    payload: Any
    receivedAt: str
