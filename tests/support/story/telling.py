"""The teller of one run: it makes the projection records that the engine would make, and writes them."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from workflows.engine.clock import ms_of_datetime
from workflows.engine.definition import Step, parse_definition
from workflows.engine.records import Record
from workflows.models import DefinitionVersion, Event, Run
from workflows.models.fields import row_id
from workflows.projections.batches import record_batch_locked
from workflows.projections.launches import record_launch
from workflows.services.runs.launch import workflow_id_of
from workflows.statuses import TriggerType


def error_of(message: str, code: str, *, category: str = "ActionError", **details: Any) -> dict[str, Any]:
    return {"category": category, "message": message, "code": code} | ({"details": details} if details else {})


class Telling:
    """One run that is being told. `at` is the logical time of the run and moves with each step.

    `start` writes the row of the run. Each method adds records. `tell` writes the records in one batch.
    """

    def __init__(self, version: DefinitionVersion, *, at: datetime, payload: dict[str, Any]) -> None:
        self.version = version
        self.at = at
        self.payload = payload
        self.records: list[Record] = []
        self.step_count = self.failed_count = self.event_count = 0
        self.steps: dict[str, Step] = {
            step.id: step for block in parse_definition(version.canonical_text).blocks.values() for step in block
        }
        self.run = Run()

    def start(self, key: str, *, event: Event | None = None, **fields: Any) -> "Telling":
        version = self.version
        run_id = row_id(ms_of_datetime(self.at), version.tenant_id, version.definition_id, key, self.at)
        self.run = Run(
            id=run_id,
            tenant_id=version.tenant_id,
            definition=version.definition,
            definition_version=version,
            definition_key=version.definition.key,
            version=version.version,
            definition_hash=version.definition_hash,
            semantics_version=2,
            trigger_type=fields.pop("trigger_type", TriggerType.EVENT if event else TriggerType.MANUAL),
            event=event,
            correlation_key=key,
            temporal_workflow_id=workflow_id_of(run_id),
            input=self.payload,
            created_at=self.at,
            **fields,
        )
        record_launch(self.run)
        self.after(0.02)
        self._run_record("RUNNING", "")
        return self

    def after(self, seconds: float) -> "Telling":
        self.at += timedelta(seconds=seconds)
        return self

    def step(
        self,
        step_id: str,
        *,
        took: float = 0.0,
        status: str = "SUCCEEDED",
        attempt: int = 1,
        iteration: str = "",
        counts: bool = True,
        since: datetime | None = None,
        **more: Any,
    ) -> "Telling":
        """Add one attempt of a step that took this number of seconds. `counts` is False if the step is not over."""
        step = self.steps[step_id]
        started = since or self.at
        self.after(took)
        is_over = counts and status in ("SUCCEEDED", "FAILED", "CANCELED")
        self.step_count += is_over
        self.failed_count += is_over and status == "FAILED"
        if step.type == "action.call":
            more.setdefault("actionId", step.config["actionId"])
            more.setdefault("actionVersion", step.config["version"])
        if "error" in more:
            more["error"] = {**more["error"], "nodePath": step.path, "at": self.at.isoformat()}
        self._add(
            kind="step",
            path=step.path,
            iteration=iteration,
            attempt=attempt,
            id=step.id,
            type=step.type,
            name=step.name,
            status=status,
            startedAt=ms_of_datetime(started),
            **more,
        )
        return self

    def wait(
        self, step_id: str, kind: str, *, status: str = "WAITING", deadline: datetime | None = None, **more: Any
    ) -> str:
        """Open a wait. Return its id."""
        step = self.steps[step_id]
        opened = more.pop("opened", self.at)
        wait_id = more.pop("id", None) or str(row_id(ms_of_datetime(opened), self.run.id, step_id, kind))
        times = {"openedAt": ms_of_datetime(opened), "readyAt": ms_of_datetime(opened)}
        if deadline is not None:
            times["deadlineAt"] = ms_of_datetime(deadline)
        place = {"path": step.path, "stepId": step.id, "iteration": ""}
        self._add(kind="wait", id=wait_id, **place, waitKind=kind, status=status, **times, **more)
        return wait_id

    def task(self, step_id: str, *, title: str, due: datetime | None, **more: Any) -> uuid.UUID:
        """Open a human task with its wait. Return the id of both."""
        step = self.steps[step_id]
        more = {"description": "", "contextData": {}, "users": [], "roles": ["operator"], **more}
        form = more.pop("formSchema", step.config.get("formSchema"))
        wait_id = self.wait(step_id, "human", deadline=due, eventName="TASK_COMPLETED", key="")
        due_at = {"dueAt": ms_of_datetime(due)} if due else {}
        place = {"path": step.path, "stepId": step.id, "iteration": "", "taskType": more.pop("taskType", step.id)}
        if form:
            place["formSchema"] = form
        self._add(kind="task", id=wait_id, status="pending", title=title, **place, **due_at, **more)
        return uuid.UUID(wait_id)

    def tell(self, status: str, at_step: str = "", **more: Any) -> Run:
        """Write all records. `at_step` is the step at which the run is or ended."""
        path = self.steps[at_step].path if at_step else "root"
        self._run_record(status, path, **more)
        epoch = str(uuid.uuid5(uuid.NAMESPACE_OID, str(self.run.id)))
        record_batch_locked(self.run, self.records, epoch=epoch, first_run_id=epoch)
        return self.run

    def _run_record(self, status: str, path: str, **more: Any) -> None:
        if "error" in more:
            more["error"] = {**more["error"], "nodePath": path, "at": self.at.isoformat()}
        counts = {
            "stepCount": self.step_count,
            "failedStepCount": self.failed_count,
            "eventCount": self.event_count,
        }
        state = next(
            (self.steps[r["id"]].config["state"] for r in reversed(self.records) if r.get("type") == "state.set"), ""
        )
        self._add(kind="run", status=status, state=state, stepPath=path, **counts, **more)

    def _add(self, **record: Any) -> None:
        self.records.append({"seq": len(self.records) + 1, "at": ms_of_datetime(self.at), **record})
