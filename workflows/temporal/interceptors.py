"""Database connections and tenant scope of activities. The request of every activity names its tenant.

An interceptor runs on the event loop, and the activity in a thread of the executor. A database connection belongs to
its thread. So the activity's function itself is wrapped, and its thread releases the connection to the pool, or closes
an unusable one.
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
                    connection.close()  # back to the pool
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
