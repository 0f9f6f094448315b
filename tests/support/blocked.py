"""Work in another database session that runs until it waits for a lock of this session."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connections

from tests.support.factories import eventually
from tests.support.system_scope import in_system_scope


def start_until_blocked(pool: ThreadPoolExecutor, work: Callable[[], Any], *, using: str = "default") -> Future[Any]:
    """Start the work in a thread. Return its future when the work has ended or waits for a lock of this session.

    `using` is the connection whose transaction holds the lock.
    """

    def run() -> Any:
        try:
            return in_system_scope(work)()
        finally:
            connections.close_all()

    future = pool.submit(run)
    eventually(lambda: future.done() or _blocks_another(using), what="end of the work, or its wait for a lock")
    return future


def _blocks_another(using: str) -> bool:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])
