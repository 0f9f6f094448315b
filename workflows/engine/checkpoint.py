"""A run's state as JSON and back, for the execution that goes on from it (docs/reference/engine.md#long-runs).

Everything that decides how the run continues is in it; what a turn counts for itself is not. A field that is added later
gets a default, because checkpoints outlive the version that wrote them.
"""

from typing import Any

from workflows.engine.scope import Loop, Scope
from workflows.engine.state import AttemptState, Frame, OpenWaitState, Phase, RunState


def dump_state(state: RunState) -> dict[str, Any]:
    """It shares its values with the state, which is not to be used any more."""
    scope = {name: value for name, value in vars(state.scope).items() if name != "work"}
    scope["loops"] = [vars(loop) for loop in state.scope.loops]
    attempt = state.attempt
    return {
        **vars(state),
        "scope": scope,
        "phase": str(state.phase),
        "frames": [vars(frame) for frame in state.frames],
        "wait": None if state.wait is None else vars(state.wait),
        "attempt": attempt and {**vars(attempt), "wait": None if attempt.wait is None else vars(attempt.wait)},
    }


def load_state(dumped: dict[str, Any]) -> RunState:
    fields = dict(dumped)
    scope = dict(fields.pop("scope"))
    scope["loops"] = [Loop(**loop) for loop in scope["loops"]]
    attempt = fields.pop("attempt")
    wait = fields.pop("wait")
    return RunState(
        scope=Scope(**scope),
        frames=[Frame(**frame) for frame in fields.pop("frames")],
        phase=Phase(fields.pop("phase")),
        wait=_wait(wait),
        attempt=None if attempt is None else AttemptState(**{**attempt, "wait": _wait(attempt["wait"])}),
        **fields,
    )


def _wait(dumped: dict[str, Any] | None) -> OpenWaitState | None:
    return None if dumped is None else OpenWaitState(**dumped)
