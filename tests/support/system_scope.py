"""System scope for functions that a test runs in other threads.

A new thread has no tenancy scope, and row-level security hides every row from such a thread.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from workflows.tenancy import system_scope


def in_system_scope(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run the function in the system scope, so that it sees the rows of all tenants."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        with system_scope():
            return function(*arguments, **named)

    return run
