"""Registry of the actions that workflows can call (docs/reference/engine.md#actions).

An installed app registers its actions in a module `workflow_actions.py`. Django discovers it like `admin.py`:

    @workflow_action(id="crm.add_note", version=1, label="Add a note", input_model=NoteInput, output_model=NoteOutput)
    def add_note(value: NoteInput, context: ActionContext) -> NoteOutput: ...

The function runs in an activity, on a thread, with Django. If the action fails, the function raises `ActionFailed`. The
author's retry policy then decides about a retry. An outage of the database is not a failure of the action. The function
does not catch such an error, and Temporal repeats the activity.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from workflows.engine.errors import Category, RunError


class ActionFailed(RunError):
    """Failure of an action. The default retry policy uses `category` to decide if the action is retried."""

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
    """The action may have taken effect, and a repetition could double the effect. An operator must check the effect."""

    def __init__(self, message: str, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message, code="ACTION_OUTCOME_UNKNOWN", details=details)


@dataclass(frozen=True)
class ActionContext:
    """Context of an action call. `secrets` has the values of the secrets that `Action.secret_names` lists.

    Units: `timeout_seconds` is in seconds.
    """

    tenant_id: uuid.UUID
    run_id: uuid.UUID
    step_path: str
    idempotency_key: str
    timeout_seconds: float
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Action:
    """Registered action with its version.

    - `is_idempotent`: a second execution with the same key has no second effect. So a lost execution may be repeated.
    - `is_transactional`: the action writes only to this database, in the transaction of the action ledger.
    - `idempotency_key`: this function computes the key from the input. If it is None, the key of the step is used.
    - `takes_secrets`: False if the action sends its input to a server that stores the input unencrypted, for example a
      broker.
    - `secret_names`: secrets of the tenant that the action needs itself, beside the secrets in its input.

    Units: `timeout_seconds` and `response_seconds` are in seconds.
    """

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
    secret_names: frozenset[str] = frozenset()
    # After this time the activity ends, but the action's thread may still run. So an action should set shorter timeouts
    # itself.
    timeout_seconds: float = 30
    # Without a response, the action ends after this time, which is shorter. None: its input or its code decides.
    response_seconds: float | None = None
    idempotency_key: Callable[[Any], str | None] | None = None
    retry_hint: dict[str, Any] = field(default_factory=dict)
    examples: tuple[dict[str, Any], ...] = ()

    @property
    def may_repeat(self) -> bool:
        """Return True if the portal may repeat an execution whose outcome was lost."""
        return self.is_idempotent or self.is_transactional or not self.has_side_effects

    @property
    def may_take_secrets(self) -> bool:
        """Return True if the input may contain secrets.

        A transactional action may not get secrets, because it would store them unencrypted.
        """
        return self.takes_secrets and not self.is_transactional


_actions: dict[tuple[str, int], Action] = {}


def register(action: Action) -> None:
    """Add an action to the registry.

    Errors: ValueError if another action has this id and version. The author of the action must act.
    """
    key = (action.id, action.version)
    if key in _actions and _actions[key] != action:
        raise ValueError(f"The action {action.id}@{action.version} is registered twice. Change its id or version.")
    _actions[key] = action


def workflow_action(**options: Any) -> Callable[[Callable[[Any, ActionContext], BaseModel]], Callable[..., BaseModel]]:
    """Register the decorated function as an action. The options are the fields of `Action`."""

    def decorate(function: Callable[[Any, ActionContext], BaseModel]) -> Callable[..., BaseModel]:
        register(Action(run=function, **options))
        return function

    return decorate


def find_action(action_id: str, version: int) -> Action | None:
    return _actions.get((action_id, version))


def registered_actions() -> list[Action]:
    """Return all registered actions, in the order of their ids and versions."""
    return [action for _, action in sorted(_actions.items())]


def actions_without_secrets() -> frozenset[tuple[str, int]]:
    """Return the actions whose input may not contain a secret."""
    return frozenset(key for key, action in _actions.items() if not action.may_take_secrets)
