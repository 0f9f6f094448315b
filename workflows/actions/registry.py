"""Actions that workflows can call (docs/reference/engine.md#actions).

Any installed app registers its own in a module `workflow_actions.py`, which is discovered as `admin.py` is:

    @workflow_action(id="crm.add_note", version=1, label="Add a note", input_model=NoteInput, output_model=NoteOutput)
    def add_note(value: NoteInput, context: ActionContext) -> NoteOutput: ...

The function runs in an activity, on a thread, with Django. It raises `ActionFailed` for a failure that the workflow shall
see; the author's retry policy decides what follows. A database that is down is no failure of the action: such errors pass
through and Temporal repeats the activity.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from workflows.engine.errors import Category, RunError
from workflows.engine.transforms import TRANSFORMS


class ActionFailed(RunError):
    """The action could not do it. `category` decides whether the default retry policy repeats it."""

    def __init__(
        self,
        message: str,
        *,
        category: str = Category.ACTION,
        code: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(category, message, code=code, details=details)


class ActionOutcomeUnknown(ActionFailed):
    """Nobody knows whether the effect was made, and making it again could double it. An operator must look."""

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, code="ACTION_OUTCOME_UNKNOWN", details=details)


@dataclass(frozen=True)
class ActionContext:
    """What an action knows of its call. Units: seconds."""

    tenant_id: uuid.UUID
    run_id: uuid.UUID
    step_path: str
    idempotency_key: str
    timeout_seconds: float


@dataclass(frozen=True)
class Action:
    """`is_idempotent`: a second execution with the same key has no second effect, so a lost one may be repeated.
    `is_transactional`: it only writes this database, and does so in the transaction of the ledger.
    `takes_secrets` False: it hands its input to somebody who keeps it in clear, as a broker does."""

    id: str
    version: int
    label: str
    input_model: type[BaseModel]
    output_model: type[BaseModel]
    run: Callable[[Any, ActionContext], BaseModel]
    category: str = "General"
    description: str = ""
    has_side_effects: bool = True
    is_idempotent: bool = False
    is_transactional: bool = False
    takes_secrets: bool = True
    # Kept inside the activity; what still runs then is left behind, so an action should keep shorter ones itself.
    timeout_seconds: float = 30
    idempotency_key: Callable[[Any], str] | None = None
    retry_hint: dict[str, Any] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def may_repeat(self) -> bool:
        """Whether an execution whose outcome was lost may be repeated without asking anyone."""
        return self.is_idempotent or self.is_transactional or not self.has_side_effects

    @property
    def may_take_secrets(self) -> bool:
        """One that writes this database would store them there, in clear."""
        return self.takes_secrets and not self.is_transactional


_actions: dict[tuple[str, int], Action] = {}


def register(action: Action) -> None:
    """Errors: ValueError when another action has the id and version."""
    key = (action.id, action.version)
    if key in _actions and _actions[key] != action:
        raise ValueError(f"the action {action.id}@{action.version} is registered twice")
    _actions[key] = action


def workflow_action(**options: Any) -> Callable[[Callable[[Any, ActionContext], BaseModel]], Callable[..., BaseModel]]:
    """Register the decorated function; the options are the fields of `Action`."""

    def decorate(function: Callable[[Any, ActionContext], BaseModel]) -> Callable[..., BaseModel]:
        register(Action(run=function, **options))
        return function

    return decorate


def find_action(action_id: str, version: int) -> Action | None:
    return _actions.get((action_id, version))


def actions_without_secrets() -> frozenset[tuple[str, int]]:
    """Those whose input may hold no secret."""
    return frozenset(key for key, action in _actions.items() if not action.may_take_secrets)


def known_actions() -> dict[str, frozenset[int]]:
    """Action ids with their versions, for validation; the pure ones of the engine among them."""
    versions: dict[str, set[int]] = {}
    for action_id, version in (*_actions, *TRANSFORMS):
        versions.setdefault(action_id, set()).add(version)
    return {action_id: frozenset(found) for action_id, found in sorted(versions.items())}
