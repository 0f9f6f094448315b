"""Threads of tests: a thread begins without a scope of tenants, and sees no row until it says for whom it works."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from workflows.tenancy import system_scope


def as_system(call: Callable[..., Any]) -> Callable[..., Any]:
    """Sees the rows of all tenants, as the test's own thread does."""

    @wraps(call)
    def run(*arguments: Any, **named: Any) -> Any:
        with system_scope():
            return call(*arguments, **named)

    return run
