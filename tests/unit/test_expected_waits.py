"""Waits that a start can open, read from the document of its definition (docs/reference/events.md)."""

from typing import Any

import pytest

from ingress.dispatch.expected_waits import children_of, waits_of
from tests.support.factories import expr, make_definition, wait_for_reply

REPLIED = "TICKET_CUSTOMER_REPLIED"
WRITES = {"id": "w", "type": "vars.set", "config": {"assign": {"payload.ticketId": expr("1")}}}
TASK = {"id": "t", "type": "human.task", "config": {"taskType": "x", "title": "x"}}


def completed_by(key: str) -> dict[str, Any]:
    return {**TASK, "config": {**TASK["config"], "completeOn": {"eventName": REPLIED, "correlationKey": expr(key)}}}


@pytest.mark.parametrize(
    ("steps", "is_child", "run_input", "takes"),
    [
        ([wait_for_reply()], False, {"ticketId": "T-1"}, True),
        ([wait_for_reply()], False, {"ticketId": " T-1 "}, True),
        ([wait_for_reply()], False, {"ticketId": "T-2"}, False),
        ([wait_for_reply()], False, {}, False),
        ([wait_for_reply()], False, {"ticketId": {"no": "key"}}, False),
        ([wait_for_reply(key="payload.a.b")], False, {"a": {"b": "T-1"}}, True),
        ([wait_for_reply(key="payload.a.b")], False, {"a": [{"b": "T-1"}]}, True),  # a path over a list
        ([wait_for_reply(key="vars.ticket")], False, {}, True),  # the run computes the key
        ([wait_for_reply(key='"T-" & payload.n')], False, {}, True),
        ([wait_for_reply()], True, {"ticketId": "T-2"}, True),  # the parent makes the input of a child
        ([WRITES, wait_for_reply()], False, {"ticketId": "T-2"}, True),
        ([completed_by("payload.ticketId")], False, {"ticketId": "T-1"}, True),
        ([completed_by("payload.ticketId")], False, {"ticketId": "T-2"}, False),
        ([TASK], False, {"ticketId": "T-1"}, False),
        ([{"id": "i", "type": "control.if", "then": [wait_for_reply()]}], False, {"ticketId": "T-1"}, True),
    ],
)
def test_wait_takes_only_keys_that_its_run_can_have(
    steps: list[dict[str, Any]], is_child: bool, run_input: Any, takes: bool
) -> None:
    waits = waits_of(make_definition(*steps), is_child=is_child)
    assert any(wait.takes(REPLIED, ["T-1"], run_input) for wait in waits) is takes
    assert not any(wait.takes("OTHER", ["T-1"], run_input) for wait in waits)
    assert not any(wait.takes(REPLIED, [], run_input) for wait in waits)


def test_children_are_named_once() -> None:
    call = {"id": "c", "type": "control.callWorkflow", "workflowId": "child", "workflowVersion": 2}
    assert children_of(make_definition(call, {**call, "id": "d"})) == {("child", 2)}
