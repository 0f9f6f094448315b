"""Recorded histories of every semantics version replay with the current code.

The first test compares the commands. The second test compares the payloads of the commands (records, inputs, keys) and
the result of the run. A change of the engine's behaviour shows in the payloads.

Source: docs/reference/engine.md#determinism
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    StartChildWorkflowInput,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from workflows.engine.machine import SEMANTICS_VERSION
from workflows.temporal import performing
from workflows.temporal.converter import build_converter
from workflows.temporal.run_workflow import RunWorkflow
from workflows.temporal.sandbox import workflow_runner

FOLDER = Path(__file__).parent / "histories"
FILES = sorted(FOLDER.glob("v*/*.json"))
CONVERTER = build_converter({})
ADVICE = """
{name}: the engine behaves differently from the recording of semantics version {version}.
If the change is a mistake, undo it. If it is intended, raise SEMANTICS_VERSION in workflows/engine/machine.py and keep
the old behaviour for runs of version {version}. Then `make record-histories` adds the histories of the new version.
If no released portal runs version {version}, only run `make record-histories`. It replaces the histories.
"""
sent: list[Any] = []


class _Outbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> Any:
        sent.append((input.activity, plain(input.args)))
        return super().start_activity(input)

    async def start_child_workflow(self, input: StartChildWorkflowInput) -> Any:
        sent.append((input.workflow, plain(input.args)))
        return await super().start_child_workflow(input)


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        result = await super().execute_workflow(input)
        sent.append(("result", plain([result])))
        return result


class PayloadRecorder(Interceptor):
    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


def plain(values: Any) -> Any:
    return [json.loads(payload.data) for payload in CONVERTER.payload_converter.to_payloads(list(values))]


def history_of(path: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(path.stem, path.read_text())


def recorded(history: WorkflowHistory) -> list[Any]:
    """Return name and payloads of each command of the history in order, and the result."""
    found: list[Any] = []
    for event in history.events:
        kind = event.WhichOneof("attributes")
        if kind == "activity_task_scheduled_event_attributes":
            attributes = event.activity_task_scheduled_event_attributes
            found.append((attributes.activity_type.name, payloads(attributes.input)))
        elif kind == "start_child_workflow_execution_initiated_event_attributes":
            started = event.start_child_workflow_execution_initiated_event_attributes
            found.append((started.workflow_type.name, payloads(started.input)))
        elif kind == "workflow_execution_completed_event_attributes":
            found.append(("result", payloads(event.workflow_execution_completed_event_attributes.result)))
    return found


def payloads(container: Any) -> Any:
    return [json.loads(payload.data) for payload in container.payloads]


def without_new_fields(replayed: Any, wanted: Any) -> Any:
    """Remove empty fields that the recording does not have. Payload types grow, and an empty new field is harmless."""
    (kind, payloads_now), (_, payloads_then) = replayed, wanted
    compared = []
    for position, now in enumerate(payloads_now):
        then = payloads_then[position] if position < len(payloads_then) else None
        if isinstance(now, dict) and isinstance(then, dict):
            now = {key: value for key, value in now.items() if key in then or value}
        compared.append(now)
    return kind, compared


def without_words(value: Any) -> Any:
    """Remove the messages of errors, and the reasons of verdicts. Their words may change, but the decisions may not.

    A definition can read `error.message`. After a release, new words therefore need a new semantics version.
    """
    if isinstance(value, list | tuple):
        return [without_words(item) for item in value]
    if not isinstance(value, dict):
        return value
    if {"category", "message", "nodePath"} <= value.keys():
        value = {**value, "message": "…"}
    if value.get("kind") == "verdict":
        value = {key: item for key, item in value.items() if key != "mismatch"}
        return {**value, "reason": "…"} if value.get("reason") else value
    return {key: without_words(item) for key, item in value.items()}


def version_of(path: Path) -> int:
    return int(path.parent.name[1:])


@pytest.fixture(autouse=True)
def message_limit_of_the_recording(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "goes-on-as-new" in request.node.name:
        monkeypatch.setattr(performing, "MAX_MESSAGES", 2)


def name_of(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def test_at_least_twenty_cases_of_the_current_version_are_recorded() -> None:
    assert len([path for path in FILES if version_of(path) == SEMANTICS_VERSION]) >= 20


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_commands_replay_in_the_sandbox(path: Path) -> None:
    replayer = Replayer(workflows=[RunWorkflow], workflow_runner=workflow_runner(), data_converter=CONVERTER)
    result = asyncio.run(replayer.replay_workflow(history_of(path), raise_on_replay_failure=False))
    assert result.replay_failure is None, ADVICE.format(name=path.name, version=version_of(path)) + str(
        result.replay_failure
    )


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_payloads_of_the_commands_are_the_same(path: Path) -> None:
    sent.clear()
    history = history_of(path)
    replayer = Replayer(
        workflows=[RunWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=CONVERTER,
        interceptors=[PayloadRecorder()],
    )
    asyncio.run(replayer.replay_workflow(history, raise_on_replay_failure=False))
    wanted = recorded(history)
    replayed = [without_new_fields(*pair) for pair in zip(sent, wanted, strict=False)]
    assert without_words(replayed) == without_words(wanted), ADVICE.format(name=path.name, version=version_of(path))
