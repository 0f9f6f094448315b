"""Ledger rows of completions by events, without a workflow: repeated attempts, killed dispatchers, redeliveries."""

from typing import Any

import pytest

from tests.support.events import open_wait, receive
from workflows.ledger import command_decide_completion
from workflows.models import Command, EventDelivery, HumanTask
from workflows.services.command_reconcile import DECIDERS
from workflows.services.completion_events import completion_delivery, completion_open
from workflows.statuses import CommandAction

pytestmark = pytest.mark.usefixtures("no_dispatcher")


@pytest.fixture
def delivery(tenant: Any) -> EventDelivery:
    """Create a delivery of an event to an open human task."""
    wait = open_wait(tenant, kind="human", name="HUMAN_TASK_COMPLETED")
    HumanTask.objects.create(
        tenant=tenant, id=wait.id, wait=wait, run=wait.run, step_path="root.steps[0]", task_type="t", title="T"
    )
    event = receive(tenant, event_type="HUMAN_TASK_COMPLETED", payload={"response": {"ok": True}})
    return EventDelivery.objects.create(tenant=tenant, event=event, kind="wait", wait=wait, run=wait.run)


def opened(delivery: EventDelivery) -> Command:
    command = completion_open(delivery)
    assert command is not None
    return command


def decision(command: Command) -> tuple[bool, str] | None:
    return DECIDERS[CommandAction.COMPLETE_TASK](command)


def test_repeated_attempt_uses_the_row_of_the_first(delivery: EventDelivery) -> None:
    first = opened(delivery)
    assert (first.state, first.actor_type, first.payload) == ("requested", "system", {"response": {"ok": True}})
    assert opened(delivery).id == first.id
    assert Command.objects.filter(target_id=str(delivery.wait_id)).count() == 1


@pytest.mark.parametrize(
    ("status", "decided"),
    [("pending", None), ("sent", None), ("matched", True), ("filtered", False), ("late", False), ("dead", False)],
)
def test_reconciler_decides_a_row_from_the_delivery(delivery: EventDelivery, status: str, decided: bool | None) -> None:
    command = opened(delivery)
    EventDelivery.objects.filter(id=delivery.id).update(status=status, reason="why")
    found = decision(command)
    assert (None if found is None else found[0]) is decided
    if decided is False:
        assert found == (False, "why")


def test_redelivery_after_a_failure_has_a_row_of_its_own(delivery: EventDelivery) -> None:
    first = opened(delivery)
    delivery.status, delivery.reason = "filtered", "does not fit"
    command_decide_completion(delivery)
    first.refresh_from_db()
    assert (first.state, first.code, first.message) == ("failed", "TASK_RESPONSE_INVALID", "does not fit")
    second = opened(delivery)
    assert second.id != first.id
    delivery.status = "matched"
    command_decide_completion(delivery)
    second.refresh_from_db()
    assert (second.state, second.observed_at is not None) == ("observed", True)


def test_key_of_a_client_that_looks_like_a_delivery_is_not_one(delivery: EventDelivery, tenant: Any) -> None:
    command = Command(tenant=tenant, action="complete_task", idempotency_key="delivery:mine", run=delivery.run)
    assert completion_delivery(command) is None
