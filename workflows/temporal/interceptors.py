"""Database hygiene around activities, and the tenant that they work for: every request of an activity names it.

An interceptor runs on the event loop and the activity on a thread of the executor; a connection belongs to its thread. So
the function itself is wrapped: whatever thread runs it gives its connection back (to the pool, or closed when unusable).
"""

import functools
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, connections
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from workflows.tenancy import tenant_scope


def _with_connections_given_back(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            with tenant_scope(args[0].tenant_id):
                return function(*args, **kwargs)
        finally:
            for connection in connections.all(initialized_only=True):
                if "pool" in connection.settings_dict.get("OPTIONS", {}):
                    connection.close()  # back to the pool
                else:
                    connection.close_if_unusable_or_obsolete()

    return run


class _DatabaseHygiene(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        input.fn = _with_connections_given_back(input.fn)
        return await super().execute_activity(input)


class DatabaseHygieneInterceptor(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _DatabaseHygiene(next)
