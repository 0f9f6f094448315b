"""Control steps: selection of the next block, and search for the place that catches an error.

When a control step enters a block, it adds a frame to the stack. The step ends when this frame is left. The row of the
step is first STARTED, and then ends once. It becomes SUCCEEDED after the end of the block or after `control.return`. It
becomes FAILED after an uncaught error in the block. `control.if` is different: it ends as soon as it has chosen its
branch.

An error moves outward from the failed step, frame by frame, to the nearest of these places:

- a `try` block: its `catch` block runs
- the body of a loop with policy `continue`: the step after the failed step runs, with the same item
- the body of a loop with policy `skipItem`: the next item starts

A loop with policy `fail` does not catch the error. The loop is left, and the loop itself then counts as the failed
step. No place catches a cancellation or an engine corruption.
"""

from typing import Any

from workflows.engine.definition import Step
from workflows.engine.errors import Category, RunError
from workflows.engine.json_schema.value_rules import kind_of
from workflows.engine.recording import record_step
from workflows.engine.sizes import plain_copy
from workflows.engine.turn import Flow, Turn

IF, FOR_EACH, TRY_CATCH = "control.if", "control.forEach", "control.tryCatch"
UNCATCHABLE = frozenset({Category.CORRUPTION, Category.CANCELLATION})

# -- The steps ---------------------------------------------------------------------------------------------------------


def choose(turn: Turn, step: Step) -> Flow:
    verdict = turn.resolve(step.config["condition"], "condition")
    if not isinstance(verdict, bool):
        raise RunError(
            Category.EXPRESSION,
            f"The condition has the type {kind_of(verdict)}. It must be true or false. "
            "Compare the value with `=`, `>` or another operator.",
            code="CONDITION_NOT_BOOLEAN",
        )
    branch = "then" if verdict else "else"
    turn.step_succeeded(step, started_ms=turn.now_ms, branch=branch)
    return turn.enter(step.blocks[branch])


def loop_over(turn: Turn, step: Step) -> Flow:
    items = turn.resolve(step.config["items"], "items")
    if not isinstance(items, list):
        raise RunError(
            Category.EXPRESSION,
            f"The items of the loop have the type {kind_of(items)}. They must be a list. "
            "append([], x) makes a list of one value.",
            code="ITEMS_NOT_A_LIST",
        )
    scope = turn.state.scope
    scope.enter_loop(step.config["itemVar"], items)
    try:
        has_item = scope.next_item()
    except RunError:
        scope.leave_loop()
        raise
    if not has_item:
        scope.leave_loop()
        turn.step_succeeded(step, started_ms=turn.now_ms)
        return Flow.NEXT
    _record_started(turn, step, inside_loop=True)
    return turn.enter(step.blocks["body"])


def attempt_block(turn: Turn, step: Step) -> Flow:
    _record_started(turn, step)
    return turn.enter(step.blocks["try"])


def finish(turn: Turn, step: Step) -> Flow:
    turn.step_succeeded(step, started_ms=turn.now_ms)
    leave_frames(turn, keep=1, status="SUCCEEDED")
    turn.end("SUCCEEDED", step_path=step.path)
    return Flow.END


def _record_started(turn: Turn, step: Step, *, inside_loop: bool = False) -> None:
    scope = turn.state.scope
    own = [scope.loops.pop()] if inside_loop else []  # the loop step itself is outside its own loop
    record_step(turn.state, step, now_ms=turn.now_ms, status="STARTED", started_ms=turn.now_ms)
    scope.loops.extend(own)


# -- The ends of blocks ------------------------------------------------------------------------------------------------


def leave_block(turn: Turn) -> Flow:
    """Leave an inner block after its last step. Start the next item of its loop, or continue after the control step."""
    frame = turn.state.frames[-1]
    owner = turn.definition.owners[frame.block]
    turn.state.attempt_number = 1
    if owner.type == FOR_EACH:
        try:
            if turn.state.scope.next_item():
                frame.index = 0
                return Flow.STAY
        except RunError as error:
            turn.state.frames.pop()
            turn.state.scope.leave_loop()
            return fail(turn, owner, error, started_ms=frame.started_ms)
    _leave_frame(turn, "SUCCEEDED")
    return Flow.NEXT


def leave_frames(turn: Turn, *, keep: int, status: str, error: dict[str, Any] | None = None) -> None:
    """Leave the innermost frames until `keep` frames remain. Each control step that is left ends with this status."""
    while len(turn.state.frames) > keep:
        _leave_frame(turn, status, error)


def _leave_frame(turn: Turn, status: str, error: dict[str, Any] | None = None) -> None:
    """Leave the innermost frame and record the end of its control step.

    The failed step is recorded with the details of its error. The control steps around it are recorded without the
    details.
    """
    state, frame = turn.state, turn.state.frames.pop()
    owner = turn.definition.owners[frame.block]
    state.attempt_number = 1
    if owner.type == IF:
        return
    if owner.type == FOR_EACH:
        state.scope.leave_loop()
    state.step_count += 1
    if status == "FAILED":
        state.failed_step_count += 1
    record_step(
        state,
        owner,
        now_ms=turn.now_ms,
        status=status,
        started_ms=frame.started_ms,
        error=None if error is None else {name: item for name, item in error.items() if name != "details"},
        branch=frame.block.rpartition(".")[2] if owner.type == TRY_CATCH else "",
    )


# -- Errors ------------------------------------------------------------------------------------------------------------


def fail(turn: Turn, step: Step, error: RunError, *, started_ms: int) -> Flow:
    """Record the failure of a step, then continue with `give_up`."""
    described = error.as_object(node_path=step.path, now_ms=turn.now_ms)
    attempt, turn.state.attempt = turn.state.attempt, None
    record_step(
        turn.state,
        step,
        now_ms=turn.now_ms,
        status="FAILED",
        started_ms=started_ms,
        error=described,
        child_run_id=attempt.child_run_id if attempt else "",
    )
    return give_up(turn, step, described)


def give_up(turn: Turn, step: Step, described: dict[str, Any]) -> Flow:
    """Continue at the place that catches the error of a failed step, or end the run if there is no such place.

    Call this function after the failure was recorded and when no attempt is left.
    """
    state = turn.state
    state.step_count += 1
    state.failed_step_count += 1
    # A copy, because the author can write to `error.` and must not change the recorded error.
    state.scope.error = plain_copy(described)
    if described["category"] not in UNCATCHABLE:
        if step.continues_on_error:
            return Flow.NEXT
        caught = _find_catcher(turn, described)
        if caught is not None:
            return caught
    leave_frames(turn, keep=1, status="FAILED", error=described)
    turn.end("FAILED", step_path=step.path, error=described)
    return Flow.END


def _find_catcher(turn: Turn, described: dict[str, Any]) -> Flow | None:
    """Move the run to the nearest place that catches the error. Return None if there is no such place."""
    frames = turn.state.frames
    keep = len(frames)  # the innermost of these frames contains the step that counts as failed
    for position in range(len(frames) - 1, 0, -1):
        block = frames[position].block
        owner = turn.definition.owners[block]
        if owner.type == TRY_CATCH and block == owner.blocks["try"]:
            leave_frames(turn, keep=position + 1, status="FAILED", error=described)
            return _catch(turn, owner, described)
        if owner.type == FOR_EACH:
            policy = owner.config.get("onItemError", "fail")
            if policy == "continue":
                leave_frames(turn, keep=keep, status="FAILED", error=described)
                return Flow.NEXT
            if policy == "skipItem":
                leave_frames(turn, keep=position + 1, status="FAILED", error=described)
                frames[position].index = len(turn.definition.blocks[block])
                return Flow.STAY
            keep = position
    return None


def _catch(turn: Turn, owner: Step, described: dict[str, Any]) -> Flow:
    started_ms = turn.state.frames.pop().started_ms
    turn.state.attempt_number = 1
    target = owner.config.get("captureErrorAs")
    try:
        if target:
            turn.put(target, plain_copy(described))
    except RunError as error:
        return fail(turn, owner, error, started_ms=started_ms)
    return turn.enter(owner.blocks["catch"], started_ms=started_ms)
