"""Serialisation of a run's state to JSON, for a run that continues as new (docs/reference/engine.md#long-runs).

A checkpoint contains everything that decides how the run continues. It does not contain the counters of a turn.

Rule: give every new field a default value. A newer version of the engine reads the checkpoints of older versions, and
these checkpoints do not have the field.
"""

from typing import Any

from workflows.engine.scope import Loop, Scope
from workflows.engine.state import AttemptState, Frame, OpenWaitState, Phase, RunState


def dump_state(state: RunState) -> dict[str, Any]:
    """Return the state as JSON.

    The result shares its values with the state, so the caller must not use the state again.
    """
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
