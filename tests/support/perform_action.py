"""Execution of one action as its activity does it, without Temporal."""

import itertools
from typing import Any

from django.db import transaction

from workflows.actions.ledger import Owner, invocation_claim
from workflows.actions.registry import ActionContext, find_action
from workflows.models import Run
from workflows.temporal.activities.action import action_key
from workflows.temporal.activities.execution import execute, validated_input

_keys = itertools.count(1)


def perform_action(run: Run, action_id: str, value: dict[str, Any], *, key: str = "") -> Any:
    """Execute an action once and return its output. Without a key, each call has a new one.

    Errors: RunError.
    """
    action = find_action(action_id, 1)
    assert action is not None
    checked = validated_input(action, value)
    key = action_key(action, checked) or key or f"k{next(_keys)}"
    with transaction.atomic():
        claim = invocation_claim(
            action, tenant_id=run.tenant_id, run_id=run.id, step_path="root.steps[0]", iteration="",
            key=key, value=value, owner=Owner("test", 1),
        )  # fmt: skip
    if not claim.execute:
        return claim.invocation.output
    context = ActionContext(run.tenant_id, run.id, "root.steps[0]", key, action.timeout_seconds)
    return execute(action, claim, checked, context)
