"""The step that an open run executes now: since when, how long it usually takes, its time limit, and its child run.

Source: docs/reference/screens.md#run-page
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from workflows.actions.lookup import tenant_action
from workflows.actions.registry import Action
from workflows.actors import Actor
from workflows.engine.mapping import is_expression
from workflows.models import Run
from workflows.outline.rows import OutlineRow
from workflows.redaction import rules_in
from workflows.selectors.run_rows import RunRow, run_rows, runs_explained
from workflows.selectors.step_counts import UsualTime, usual_time

ACTION = "action.call"
# Fewer executions say little about the usual time.
ENOUGH_EXECUTIONS = 5
# A step is called slow only after this time, because a page is made again every few seconds.
SLOW_AFTER = timedelta(seconds=10)


@dataclass(frozen=True)
class RunningStep:
    """An attempt of an action without an end, or a step that waits for its child run.

    `usual`: the time of earlier executions, if there are enough. `limit`: the time after which the worker ends the
    attempt, if this process knows the action. `response_limit`: the shorter time after which the action ends without a
    response, if the definition or the connector says it. `child`: the child run with what explains it.
    """

    since: datetime
    usual: UsualTime | None = None
    limit: timedelta | None = None
    response_limit: timedelta | None = None
    child: RunRow | None = None

    @property
    def limit_passed_at(self) -> datetime | None:
        """Return the time at which the attempt should have ended, if no worker has recorded its end since then."""
        ends_at = self.since + self.limit if self.limit is not None else None
        return ends_at if ends_at is not None and ends_at < timezone.now() - SLOW_AFTER else None

    @property
    def is_slow(self) -> bool:
        took = timezone.now() - self.since
        return self.usual is not None and took > max(SLOW_AFTER, timedelta(seconds=self.usual.seconds))

    @property
    def needs_attention(self) -> bool:
        return self.limit_passed_at is not None or self.is_slow


def running_step(run: Run, row: OutlineRow | None, actor: Actor) -> RunningStep | None:
    """Return the facts of the step that the run executes, or None if no attempt is open.

    Cost: at most two statements.
    """
    last = row.attempts[-1] if row is not None and row.attempts else None
    if row is None or last is None or last.ended_at is not None:
        return None
    if last.child_id is not None:
        return RunningStep(last.started_at, child=_child(run, last.child_id, actor))
    if row.node.step.type != ACTION:
        return None
    config = row.node.step.config
    action = tenant_action(tenant_id=run.tenant_id, action_id=config["actionId"], version=config["version"])
    usual = usual_time(run, row.node.path)
    return RunningStep(
        last.started_at,
        usual if usual is not None and usual.executions >= ENOUGH_EXECUTIONS else None,
        timedelta(seconds=action.timeout_seconds) if action is not None else None,
        _response_limit(action, config.get("inputMapping")) if action is not None else None,
    )


def _response_limit(action: Action, mapping: Any) -> timedelta | None:
    """Return the time for which the action waits for a response. Return None if it is computed or does not exist.

    The built-in actions that wait for a response have it in their input, as the field `timeout_seconds`.
    """
    seconds = action.response_seconds
    field = action.input_model.model_fields.get("timeout_seconds")
    if seconds is None and field is not None and isinstance(mapping, dict) and not is_expression(mapping):
        names = ("timeout_seconds", field.alias or "")
        seconds = next((mapping[name] for name in names if name in mapping), field.default)
    return timedelta(seconds=seconds) if isinstance(seconds, int | float) else None


def _child(run: Run, child_id: uuid.UUID, actor: Actor) -> RunRow | None:
    children = runs_explained(Run.objects.filter(tenant_id=run.tenant_id, id=child_id).select_related("definition"))
    found = list(children)
    names = {child.definition_key: child.definition.name for child in found}
    rules = rules_in(run.tenant)
    rows = run_rows(found, tenant_id=run.tenant_id, names=names, rules=rules, sees_payloads=actor.sees_payloads)
    return rows[0] if rows else None
