"""Database connections and tenant scope of activities. The request of every activity names its tenant.

An interceptor runs on the event loop, but the activity runs in a thread of the executor. A database connection belongs
to the thread that opened it. So this module wraps the function of the activity itself. After the function, its thread
returns the connection to the pool, or closes the connection if it is unusable.
"""

import functools
from collections.abc import Callable
from typing import Any

from django.db import close_old_connections, connections
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from workflows.tenancy import tenant_scope


def _releasing_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            with tenant_scope(args[0].tenant_id):
                return function(*args, **kwargs)
        finally:
            for connection in connections.all(initialized_only=True):
                if "pool" in connection.settings_dict.get("OPTIONS", {}):
                    connection.close()  # returns the connection to the pool
                else:
                    connection.close_if_unusable_or_obsolete()

    return run


class _DatabaseScope(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        input.fn = _releasing_connections(input.fn)
        return await super().execute_activity(input)


class DatabaseScopeInterceptor(Interceptor):
    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _DatabaseScope(next)
