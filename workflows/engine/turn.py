"""One turn of the machine: the definition, the state and the time, with the verbs that steps are written in.

A step handler (see `steps.py`) works on a turn and returns what comes next: `NEXT`, `SUSPEND`, `END`, or `Enter(block)`.
A failure is raised as RunError and handled in one place, `Turn.fail`.
"""

import copy
import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from workflows.engine.commands import Command, CompleteRun
from workflows.engine.definition import Definition, Step
from workflows.engine.errors import Category, RunError
from workflows.engine.mapping import resolve
from workflows.engine.records import record_run, record_step, take_records
from workflows.engine.scope import Target, parse_target
from workflows.engine.state import Frame, Phase, RunState


class Flow(Enum):
    NEXT = "next"
    SUSPEND = "suspend"
    END = "end"


@dataclass(frozen=True)
class Enter:
    """Walk this block, then go on behind the step that entered it."""

    block: str


Outcome = Flow | Enter


@dataclass
class Turn:
    definition: Definition
    state: RunState
    now_ms: int
    commands: list[Command] = field(default_factory=list)

    # -- Where the run stands --------------------------------------------------------------------------------------

    def current_step(self) -> Step | None:
        """The step to run now; finished blocks are left on the way. None: the definition has been walked to its end."""
        frames = self.state.frames
        while frames:
            block = self.definition.blocks[frames[-1].block]
            if frames[-1].index < len(block):
                return block[frames[-1].index]
            frames.pop()
            if frames:
                frames[-1].index += 1
        return None

    def step_of_wait(self) -> Step:
        step = self.current_step()
        if step is None:
            raise RuntimeError("a run that waits has no current step")
        return step

    def step_over(self) -> None:
        self.state.frames[-1].index += 1

    def enter(self, block: str) -> None:
        self.state.frames.append(Frame(block))

    # -- Ids, all derived from the run, so that a replay makes the same ----------------------------------------------

    def new_command_id(self) -> str:
        self.state.command_count += 1
        return f"c{self.state.command_count}"

    def new_wait_id(self) -> str:
        self.state.wait_count += 1
        return wait_id(self.state.scope.system["runId"], self.state.wait_count)

    # -- Values ------------------------------------------------------------------------------------------------------

    def resolve(self, value: Any, where: str = "") -> Any:
        return resolve(value, self.state.scope.view(), now_ms=self.now_ms, where=where)

    def assign(self, targets: dict[str, Any], where: str = "assign") -> None:
        """In the document's order; a later entry sees what an earlier one has put."""
        for target, value in targets.items():
            self.put(target, self.resolve(value, f"{where}.{target}"))

    def put(self, target: str | Target, value: Any) -> None:
        self.state.scope.put(parse_target(target) if isinstance(target, str) else target, value)

    # -- Ends --------------------------------------------------------------------------------------------------------

    def step_succeeded(self, step: Step, *, started_ms: int, branch: str = "") -> None:
        self.state.step_count += 1
        record_step(
            self.state, step, now_ms=self.now_ms, status="SUCCEEDED", started_ms=started_ms, branch=branch
        )  # fmt: skip

    def fail(self, step: Step, error: RunError, *, started_ms: int) -> Outcome:
        """The step has failed: record it, then `give_up`."""
        described = error.as_object(node_path=step.path, now_ms=self.now_ms)
        record_step(
            self.state, step, now_ms=self.now_ms, status="FAILED", started_ms=started_ms, error=described
        )  # fmt: skip
        return self.give_up(step, described)

    def give_up(self, step: Step, described: dict[str, Any]) -> Outcome:
        """The step has failed for good: go on behind it when its policy says so, else the run fails."""
        state = self.state
        state.step_count += 1
        state.failed_step_count += 1
        # A copy: what the author puts under `error.` must not change what was recorded.
        state.scope.error = copy.deepcopy(described)
        if step.continues_on_error and described["category"] != Category.CORRUPTION:
            return Flow.NEXT
        self.end("FAILED", step_path=step.path, error=described)
        return Flow.END

    def end(self, status: str, *, step_path: str = "", error: dict[str, Any] | None = None) -> None:
        state = self.state
        state.phase, state.status, state.error = Phase.ENDED, status, error
        record_run(state, now_ms=self.now_ms, status=status, step_path=step_path, error=error)
        self.commands.append(
            CompleteRun(id=self.new_command_id(), status=status, error=error, records=take_records(state))
        )


def wait_id(run_id: str, number: int) -> str:
    return str(uuid.uuid5(uuid.UUID(run_id), f"wait:{number}"))
