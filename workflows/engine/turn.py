"""One turn of the machine: the definition, the state, the time, and the operations that step handlers use.

A step handler receives a turn and returns a `Flow`:

- `NEXT`: continue with the step that follows
- `STAY`: continue at the position that the frames name
- `SUSPEND`: wait for the next event
- `END`: the run has ended

A handler raises RunError for a failure. Only `control.fail` handles this error.

A turn runs inside one workflow task, which Temporal limits to about 2 s. The work of a turn is therefore counted in
evaluation steps, in bytes that are measured or copied, and in steps that are run. If the work exceeds `MAX_TURN_STEPS`,
the machine ends the turn with a write of records.
"""

import uuid
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from workflows.engine.commands import Command, CompleteRun, WriteRecords
from workflows.engine.definition import Definition, Step
from workflows.engine.expressions.contract import EXPRESSION_CONTRACT_VERSION, Meter
from workflows.engine.keys import correlation_key
from workflows.engine.mapping import resolve
from workflows.engine.recording import record_run, record_step, take_records
from workflows.engine.scope import Target, parse_target
from workflows.engine.sizes import MAX_RECORD_BYTES
from workflows.engine.state import Frame, Phase, RunState

# Units: evaluation steps of the expression contract. This number, plus the largest single step, takes about 0.3 s on a
# slow core.
MAX_TURN_STEPS = 400_000
STEPS_PER_WALK = 100
BYTES_PER_STEP = 40
MAX_GATHERED_RECORDS = 200
# Half of the limit of one write. The other half is free for the records of one more step.
MAX_GATHERED_BYTES = MAX_RECORD_BYTES // 2


class Flow(Enum):
    NEXT = "next"
    STAY = "stay"
    SUSPEND = "suspend"
    END = "end"


@dataclass
class Turn:
    definition: Definition
    state: RunState
    now_ms: int
    # Expression contract version of the run, which follows from its semantics version.
    contract: int = EXPRESSION_CONTRACT_VERSION
    commands: list[Command] = field(default_factory=list)
    _meter: Meter = field(default_factory=Meter)
    _spent: int = 0

    def __post_init__(self) -> None:
        self.state.scope.work = 0

    @property
    def semantics(self) -> int:
        """Return the semantics version that the run started with."""
        return int(self.state.scope.system.get("semanticsVersion", 1))

    def become_ready(self, at_ms: int) -> None:
        """Move the logical time of the run forward. An earlier time changes nothing."""
        self.state.ready_ms = max(self.state.ready_ms, at_ms)

    # -- Position of the run -----------------------------------------------------------------------------------------

    def current_step(self) -> Step | None:
        """Return the step that runs now. Return None after the last step of a block, and after the end of the run."""
        if not self.state.frames:
            return None
        frame = self.state.frames[-1]
        block = self.definition.blocks[frame.block]
        return block[frame.index] if frame.index < len(block) else None

    def step_of_wait(self) -> Step:
        step = self.current_step()
        if step is None:
            raise RuntimeError("A waiting run has no current step.")
        return step

    def step_over(self) -> None:
        self.state.frames[-1].index += 1

    def enter(self, block: str, *, started_ms: int | None = None) -> Flow:
        self.state.frames.append(Frame(block, started_ms=self.now_ms if started_ms is None else started_ms))
        return Flow.STAY

    def begin_step(self) -> None:
        """Start a new evaluation budget, because all expressions of one step share one budget."""
        self._spent += self._meter.steps + STEPS_PER_WALK
        self._meter = Meter()

    @property
    def has_room(self) -> bool:
        """Return True if one more step may run in this turn."""
        spent = self._spent + self._meter.steps + self.state.scope.work // BYTES_PER_STEP
        return spent <= MAX_TURN_STEPS and not self.has_gathered_enough

    @property
    def has_gathered_enough(self) -> bool:
        """Return True if so many records are gathered that they must be written now, and not with a later command."""
        return len(self.state.records) >= MAX_GATHERED_RECORDS or self.state.record_bytes >= MAX_GATHERED_BYTES

    # -- Ids. All derive from the run, so that a replay makes the same ids -------------------------------------------

    @property
    def run_id(self) -> str:
        return str(self.state.scope.system["runId"])

    def new_command_id(self) -> str:
        self.state.command_count += 1
        return f"c{self.state.command_count}"

    def new_wait_id(self) -> str:
        self.state.wait_count += 1
        return str(uuid.uuid5(uuid.UUID(self.run_id), f"wait:{self.state.wait_count}"))

    def new_child_run_id(self) -> str:
        self.state.child_count += 1
        return str(uuid.uuid5(uuid.UUID(self.run_id), f"child:{self.state.child_count}"))

    def execution_key(self, step: Step) -> str:
        """Return a key that is unique for one execution of the step: run id, step path and, in loops, the iteration.

        All attempts of the execution share the key.
        """
        iteration = self.state.scope.iteration
        return f"{self.run_id}/{step.path}" + (f"#{iteration}" if iteration else "")

    # -- Values ------------------------------------------------------------------------------------------------------

    def resolve(self, value: Any, where: str = "", also_seen: dict[str, Any] | None = None) -> Any:
        view = self.state.scope.view()
        if also_seen:
            view |= also_seen
        return resolve(value, view, now_ms=self.now_ms, where=where, meter=self._meter, contract=self.contract)

    def key_of(self, value: Any, where: str) -> str | None:
        """Return the correlation key of a value or an expression, or None if the value gives no key."""
        return correlation_key(self.resolve(value, where), is_exact=self.contract >= 2)

    def assign(self, targets: dict[str, Any], where: str = "assign", also_seen: dict[str, Any] | None = None) -> None:
        """Assign values to targets in the document's order. A later entry sees the values of earlier entries."""
        for target, value in targets.items():
            self.put(target, self.resolve(value, f"{where}.{target}", also_seen))

    def put(self, target: str | Target, value: Any) -> None:
        self.state.scope.put(parse_target(target) if isinstance(target, str) else target, value)

    # -- Ends --------------------------------------------------------------------------------------------------------

    def step_succeeded(self, step: Step, *, started_ms: int, branch: str = "", child_run_id: str = "") -> None:
        self.state.step_count += 1
        record_step(
            self.state,
            step,
            now_ms=self.now_ms,
            status="SUCCEEDED",
            started_ms=started_ms,
            branch=branch,
            child_run_id=child_run_id,
        )

    def write_records(self) -> str:
        """Add a command that writes the gathered records, and return its id."""
        command = WriteRecords(id=self.new_command_id(), records=take_records(self.state))
        self.commands.append(command)
        return command.id

    def end(self, status: str, *, step_path: str = "", error: dict[str, Any] | None = None) -> None:
        state = self.state
        state.phase, state.status, state.error = Phase.ENDED, status, error
        output = state.scope.output() if status == "SUCCEEDED" and self.semantics >= 2 else None
        record_run(state, now_ms=self.now_ms, status=status, step_path=step_path, error=error, output=output)
        self.commands.append(
            CompleteRun(id=self.new_command_id(), status=status, error=error, records=take_records(state))
        )
