"""SQL statements that a page sends, on the connections of the application and of sign-in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from django.db import connections
from django.test.utils import CaptureQueriesContext

CONNECTIONS = ("default", "signin")
CONTROL = ("SAVEPOINT", "RELEASE", "ROLLBACK", "COMMIT", "BEGIN", "SET ", "SELECT set_config(")


@contextmanager
def sent_statements() -> Iterator[list[str]]:
    """Yield a list that contains, after the block, each statement except those that control the transaction."""
    sent: list[str] = []
    with ExitStack() as stack:
        logs = [stack.enter_context(CaptureQueriesContext(connections[name])) for name in CONNECTIONS]
        yield sent
        sent += [sql for log in logs for sql in map(statement_of, log.captured_queries) if sql]


def statement_of(query: dict[str, str]) -> str:
    """Return a statement without the settings that are sent with it. A control statement becomes an empty text."""
    sql = query["sql"]
    if sql.startswith("SELECT set_config("):
        sql = sql.partition("; ")[2]
    return "" if sql.startswith(CONTROL) else sql
