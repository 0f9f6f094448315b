"""Recording of histories for the replay tests (`make record-histories`): runs every case on a real Temporal server.

Pytest does not collect this file with the tests. Only histories of the current semantics version are recorded again.
Histories of older versions stay, because open runs may still use these versions.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.factories import publish
from tests.support.history_cases import CASES, LOST_ONCE, HistoryCase
from tests.support.tenant_driver import TenantDriver
from workflows.actions import registry
from workflows.engine.machine import SEMANTICS_VERSION
from workflows.models import Run
from workflows.temporal import connection, performing

FOLDER = Path(__file__).parent / "histories" / f"v{SEMANTICS_VERSION}"
# Fields that depend on the machine and the process of the recording. They do not affect the replay.
LEFT_OUT = ("identity", "requestId", "sdkName", "stackTrace", "workerVersion")
STICKY = re.compile(r'"pointsman-portal@[^"]*"')


@pytest.fixture(scope="session", autouse=True)
def empty_folder() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_record(driver: TenantDriver, case: HistoryCase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._actions, (LOST_ONCE.id, LOST_ONCE.version), LOST_ONCE)
    if case.is_long:
        monkeypatch.setattr(performing, "MAX_MESSAGES", 2)
    if case.children:
        publish(driver.tenant, *case.children, key="child")
    publish(driver.tenant, *case.steps)
    run = driver.start(case.payload)
    case.act(driver, run)
    ended = driver.wait_for_run(case.ends, id=run.id)
    for number, text in enumerate(histories(ended)):
        name = case.name if number == 0 else f"{case.name}-{number + 1}"
        (FOLDER / f"{name}.json").write_text(text)
    for child in Run.objects.filter(parent_run=run).order_by("created_at")[:1]:
        (FOLDER / f"{case.name}-of-the-child.json").write_text(histories(child)[0])


def histories(run: Run) -> list[str]:
    """Return the history of each execution of the run as JSON text, the first execution first."""

    async def fetch(client: Any) -> list[str]:
        found: list[str] = []
        execution: str | None = run.temporal_first_run_id
        while execution:
            handle = client.get_workflow_handle(run.temporal_workflow_id, run_id=execution)
            history = await handle.fetch_history()
            last = history.events[-1]
            found.append(history.to_json())
            execution = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id or None
        return found

    return [normalised(text) for text in connection.call(fetch)]


def normalised(text: str) -> str:
    """Return the history without fields that differ between two recordings, sorted and indented."""
    document = without_machine(json.loads(text))
    return STICKY.sub('"sticky"', json.dumps(document, indent=1, sort_keys=True)) + "\n"


def without_machine(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_machine(item) for key, item in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [without_machine(item) for item in value]
    return value
