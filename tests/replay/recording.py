"""`make record-histories`: plays every shape on a real server and keeps its history for the replay tests.

Not collected with the tests. Histories of the present semantics version are written anew; those of older versions are never
touched, for runs that pinned them may still be open somewhere.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.desk import Desk
from tests.support.factories import publish
from tests.support.history_shapes import SHAPES, Shape
from workflows.engine.machine import SEMANTICS_VERSION
from workflows.models import Run
from workflows.temporal import connection, performing

FOLDER = Path(__file__).parent / "histories" / f"v{SEMANTICS_VERSION}"
# What tells of the machine and the process that recorded it, and decides nothing.
UNTOLD = ("identity", "requestId", "sdkName", "stackTrace", "workerVersion")
STICKY = re.compile(r'"pointsman-portal@[^"]*"')


@pytest.fixture(scope="session", autouse=True)
def empty_folder() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_record(desk: Desk, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    if shape.is_long:
        monkeypatch.setattr(performing, "MAX_MESSAGES", 2)
    if shape.children:
        publish(desk.tenant, *shape.children, key="child")
    publish(desk.tenant, *shape.steps)
    run = desk.start(shape.payload)
    shape.play(desk, run)
    ended = desk.run_is(shape.ends, id=run.id)
    for number, text in enumerate(histories(ended)):
        name = shape.name if number == 0 else f"{shape.name}-{number + 1}"
        (FOLDER / f"{name}.json").write_text(text)
    for child in Run.objects.filter(parent_run=run).order_by("created_at")[:1]:
        (FOLDER / f"{shape.name}-of-the-child.json").write_text(histories(child)[0])


def histories(run: Run) -> list[str]:
    """Of every execution of the run, the first one first."""

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

    return [told(text) for text in connection.call(fetch)]


def told(text: str) -> str:
    document = without_place(json.loads(text))
    return STICKY.sub('"sticky"', json.dumps(document, indent=1, sort_keys=True)) + "\n"


def without_place(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_place(item) for key, item in value.items() if key not in UNTOLD}
    if isinstance(value, list):
        return [without_place(item) for item in value]
    return value
