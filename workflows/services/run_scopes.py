"""Scopes of a run at a step, repeated by the engine from the rows of the run. All values are redacted.

Source: docs/reference/screens.md#expression-lab
"""

import time
import uuid
from dataclasses import replace
from datetime import datetime
from typing import Any

from workflows.engine.child_step import child_error
from workflows.engine.clock import iso_time, ms_of_datetime
from workflows.engine.definition import parse_definition
from workflows.engine.retrace import Diverged, Outcome, Position, Traced, WaitEnd, scopes_of_run
from workflows.engine.scope import Scope
from workflows.engine.sizes import json_size
from workflows.engine.state import RunState
from workflows.errors import InputInvalid
from workflows.event_redaction import EventRedaction
from workflows.json_numbers import as_doubles
from workflows.models import HumanTask, Run, RunStep, RunWait
from workflows.redaction import Rules, redact, redact_output, redact_task, rules_of
from workflows.services.hidden_values import without_computed
from workflows.statuses import Engine, RunStatus, StepStatus, TaskStatus, WaitStatus

MAX_SECONDS = 10.0
MAX_RESULTS = 2_000
# Statuses of a step row whose attempt has ended with a result.
_ENDED = (StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.RETRY_SCHEDULED)


def run_scopes(run: Run, *, step_path: str = "", iteration: str = "") -> Traced:
    """Return the redacted scopes before a step. Without a step, return the scopes at the present position or the end.

    Errors: InputInvalid LAB_STEP_NOT_REACHED if the run has no such step, if a hidden value decides about the way to
    the step, or if the repetition takes too long; LAB_LEGACY_RUN for a run of the former engine.
    Cost: one statement per action, child run and wait before the step, at most MAX_RESULTS.
    """
    if run.engine != Engine.TEMPORAL:
        raise InputInvalid(
            "This run was imported from the former engine, so its scopes cannot be repeated. Choose another run.",
            code="LAB_LEGACY_RUN",
        )
    rules = rules_of(run.tenant_id)
    deadline = time.monotonic() + MAX_SECONDS
    target = Position(step_path, iteration) if step_path else None
    started = run.began_at
    try:
        traced = scopes_of_run(
            parse_definition(run.definition_version.canonical_text),
            _first_state(run, rules),
            RowResults(run, rules),
            started_ms=ms_of_datetime(started),
            target=target,
            is_over=lambda: time.monotonic() > deadline,
        )
        _require_same_branches(run, traced)
    except Diverged as problem:
        raise InputInvalid(
            f"The scopes at this step cannot be repeated. {problem} The cause can also be a hidden value that decides "
            "about the way of the run. Choose another step, or ask an administrator about the redaction rules.",
            code="LAB_STEP_NOT_REACHED",
        ) from problem
    view = _redacted(traced.view, rules)
    return replace(traced, view=without_computed(view, run.definition_version.document()))


def _redacted(view: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """Apply the rules for variables and other scopes, which the run itself made from redacted values."""
    scopes = redact_output({name: view[name] for name in ("payload", "vars", "meta")}, rules)
    local = redact_output({"vars": view["local"]}, rules)["vars"]
    error = None if view["error"] is None else redact(view["error"], rules, "/error")
    return {**scopes["vars"], **local, **scopes, "local": local, "error": error, "system": view["system"]}


def _first_state(run: Run, rules: Rules) -> RunState:
    """Return the first state of the run, as its workflow makes it. The payload is redacted."""
    payload = as_doubles(redact(run.input, rules, "/payload"))
    system = {
        "runId": str(run.id),
        "workflowId": run.definition_key,
        "workflowVersion": run.version,
        "tenantId": str(run.tenant_id),
        "definitionHash": run.definition_hash,
        "semanticsVersion": run.semantics_version,
        "parentRunId": str(run.parent_run_id) if run.parent_run_id else None,
        "rootRunId": str(run.root_run_id or run.id),
    }
    return RunState(scope=Scope(payload=payload, system=system, size_bound=json_size(payload)))


def _require_same_branches(run: Run, traced: Traced) -> None:
    """Compare the branches of the repetition with the branches of the run. Errors: Diverged."""
    rows = RunStep.objects.filter(tenant_id=run.tenant_id, run=run).exclude(branch="")
    taken = rows.order_by("projection_seq").values_list("step_path", "iteration", "branch")[:MAX_RESULTS]
    for path, iteration, branch in taken:
        if traced.branches.get(Position(path, iteration), branch) != branch:
            raise Diverged(f"The step {path} chose another branch in the run.")


class RowResults:
    """Results of a run from its rows, each redacted."""

    def __init__(self, run: Run, rules: Rules) -> None:
        self._run, self._rules, self._left = run, rules, MAX_RESULTS

    def action(self, at: Position, attempt: int) -> Outcome | None:
        self._count()
        rows = RunStep.objects.filter(tenant_id=self._run.tenant_id, run=self._run, status__in=_ENDED)
        row = rows.filter(step_path=at.path, iteration=at.iteration, attempt=attempt).first()
        if row is None:
            return None
        output, error = self._shown(row.output, "/output"), self._shown(row.error, "/error")
        return Outcome(_ms(row.ended_at or row.started_at), output, error)

    def child(self, child_run_id: str) -> Outcome | None:
        self._count()
        child = Run.objects.filter(tenant_id=self._run.tenant_id, id=uuid.UUID(child_run_id)).first()
        if child is None or child.ended_at is None:
            return None
        at_ms = _ms(child.ended_at)
        if child.status == RunStatus.SUCCEEDED:
            return Outcome(at_ms, as_doubles(redact_output(child.output or {}, self._rules)))
        error = self._shown(child.error, "/error")
        own = child_error(error, child_run_id=child_run_id, ended=child.status, now_iso=iso_time(at_ms))
        return Outcome(at_ms, error=own)

    def wait(self, wait_id: str) -> WaitEnd | None:
        self._count()
        waits = RunWait.objects.select_related("event")
        wait = waits.filter(tenant_id=self._run.tenant_id, id=uuid.UUID(wait_id)).first()
        if wait is None or wait.resolved_at is None or wait.status == WaitStatus.CANCELED:
            return None
        at_ms = _ms(wait.resolved_at)
        if wait.event is not None:
            event, redaction = wait.event, EventRedaction(wait.event, self._rules)
            payload = as_doubles(redact(event.payload, self._rules, "/payload"))
            key = redaction.key(wait.correlation_key)
            found = {"id": event.event_id, "name": event.event_type, "key": key, "payload": payload}
            return WaitEnd(at_ms, event=found)
        task = HumanTask.objects.filter(tenant_id=self._run.tenant_id, wait=wait, status=TaskStatus.COMPLETED).first()
        if task is not None:
            value = as_doubles(redact_task(task, task.response, self._rules, "/response"))
            return WaitEnd(at_ms, response={"value": value, "by": task.completed_by_name})
        return WaitEnd(at_ms)

    def _shown(self, value: Any, at: str) -> Any:
        return None if value is None else as_doubles(redact(value, self._rules, at))

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise Diverged(f"There are more than {MAX_RESULTS:,} results before this step. Choose an earlier step.")


def _ms(moment: datetime) -> int:
    return ms_of_datetime(moment)
