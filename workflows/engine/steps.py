"""Handlers of the step types. `HANDLERS` lists every step type that this engine can run."""

from collections.abc import Callable

from workflows.engine.action_step import call_action
from workflows.engine.child_step import call_workflow
from workflows.engine.control import attempt_block, choose, finish, loop_over
from workflows.engine.definition import Step
from workflows.engine.turn import Flow, Turn
from workflows.engine.wait_steps import wait_for_event, wait_for_person, wait_for_time


def set_state(turn: Turn, step: Step) -> Flow:
    turn.put("meta.state", step.config["state"])
    turn.step_succeeded(step, started_ms=turn.now_ms)
    return Flow.NEXT


def assign(turn: Turn, step: Step) -> Flow:
    turn.assign(step.config["assign"])
    turn.step_succeeded(step, started_ms=turn.now_ms)
    return Flow.NEXT


HANDLERS: dict[str, Callable[[Turn, Step], Flow]] = {
    "state.set": set_state,
    "transform.assign": assign,
    "control.if": choose,
    "control.forEach": loop_over,
    "control.tryCatch": attempt_block,
    "control.callWorkflow": call_workflow,
    "control.return": finish,
    "action.call": call_action,
    "event.wait": wait_for_event,
    "time.wait": wait_for_time,
    "human.task": wait_for_person,
}
