"""Action ledger: held keys, lost keys, and the result of the next claim (docs/reference/engine.md#actions)."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel

from tests.support.factories import make_run
from workflows.actions.ledger import (
    Claim,
    KeyHeld,
    KeyLost,
    Owner,
    invocation_claim,
    invocation_end,
    invocation_leave,
    invocation_renew,
)
from workflows.actions.registry import Action, ActionContext
from workflows.models import ActionInvocation, Run


class Nothing(BaseModel):
    pass


def action(**options: Any) -> Action:
    def run(value: Nothing, context: ActionContext) -> Nothing:
        return value

    return Action(id="test.action", version=1, label="", input_model=Nothing, output_model=Nothing, run=run, **options)


def claim(run: Run, owner: Owner, *, what: Action | None = None) -> Claim:
    with transaction.atomic():
        return invocation_claim(
            what or action(),
            tenant_id=run.tenant_id,
            run_id=run.id,
            step_path="root.steps[0]",
            iteration="",
            key="k",
            value={},
            owner=owner,
        )


FIRST, AGAIN, OTHER = Owner("run/1", 1), Owner("run/1", 2), Owner("other/1", 1)


def test_stored_output_is_returned_without_an_execution(tenant: Any) -> None:
    run = make_run(tenant)
    invocation_end(claim(run, FIRST).invocation, output={"n": 1})
    again = claim(run, OTHER)
    assert (again.execute, again.invocation.output, again.invocation.executions) == (False, {"n": 1}, 1)


def test_failed_invocation_is_executed_again(tenant: Any) -> None:
    run = make_run(tenant)
    invocation_end(claim(run, FIRST).invocation, error={"category": "ActionError"})
    again = claim(run, OTHER)
    assert (again.execute, again.invocation.executions, again.invocation.error) == (True, 2, None)


def test_key_of_a_running_execution_is_held(tenant: Any) -> None:
    run = make_run(tenant)
    held = claim(run, FIRST)
    with pytest.raises(KeyHeld):
        claim(run, OTHER)
    ActionInvocation.objects.filter(id=held.invocation.id).update(
        lease_expires_at=timezone.now() + timedelta(seconds=1)
    )
    invocation_renew(held.invocation)
    held.invocation.refresh_from_db()
    assert held.invocation.lease_expires_at > timezone.now() + timedelta(seconds=30)


@pytest.mark.parametrize(
    ("options", "execute"),
    [
        ({}, False),
        ({"is_idempotent": True}, True),
        ({"is_transactional": True}, True),
        ({"has_side_effects": False}, True),
    ],
)
def test_lost_execution_is_repeated_only_if_the_action_permits_it(
    tenant: Any, options: dict[str, bool], execute: bool
) -> None:
    run = make_run(tenant)
    claim(run, FIRST, what=action(**options))
    again = claim(run, AGAIN, what=action(**options))
    assert (again.execute, again.invocation.status) == (execute, "STARTED")


def test_owner_that_lost_its_key_stores_nothing(tenant: Any) -> None:
    run, idempotent = make_run(tenant), action(is_idempotent=True)
    lost = claim(run, FIRST, what=idempotent)
    taken = claim(run, AGAIN, what=idempotent)
    with pytest.raises(KeyLost):
        invocation_end(lost.invocation, output={"by": "the lost one"})
    invocation_end(taken.invocation, output={"by": "the next one"})
    assert ActionInvocation.objects.get(run=run).output == {"by": "the next one"}


def test_next_claim_learns_of_an_unknown_outcome_at_once(tenant: Any) -> None:
    run = make_run(tenant)
    invocation_leave(claim(run, FIRST).invocation)
    assert claim(run, OTHER).execute is False
