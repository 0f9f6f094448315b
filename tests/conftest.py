"""Real servers for every test: PostgreSQL, Redis and Temporal, started once a session, before Django reads its settings.

Rows are committed, because the servers' other ends (Temporal worker, Celery worker) must see them; so nothing is rolled
back or flushed, and every test works in a tenant of its own (`tests/support/factories.py`).
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from portal.devstack import temporal_cli
from portal.devstack.progress import Listener
from portal.devstack.servers import Servers, embedded_servers

_stack = ExitStack()
_servers: Servers | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers, point the environment at them, and let Django read its settings from that."""
    global _servers
    if config.option.collectonly or os.environ.get("POINTSMAN_TEST_NO_SERVERS"):
        return
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        # It only hands out tests; each of its workers has servers of its own. The CLI is made once, before they ask for it.
        temporal_cli.from_environment(Listener(lambda line: sys.stderr.write(f"{line}\n")))
        return
    home = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-tests-")))
    (home / "static").mkdir()
    _servers = _stack.enter_context(embedded_servers(home / "servers"))
    os.environ.update(
        DJANGO_SETTINGS_MODULE="portal.settings",
        POINTSMAN_ENV="development",
        POINTSMAN_HOME=str(home),
        DATABASE_URL=_servers.database_url,
        REDIS_URL=_servers.redis_url,
        TEMPORAL_ADDRESS=_servers.temporal_address,
        TEMPORAL_TASK_QUEUE="tests",
        TEMPORAL_RPC_TIMEOUT_SECONDS="5",
        DELIVERY_BACKOFF_SECONDS="0.2",
        HTTP_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
        WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON='{"TICKET_CREATED": "payload.ticketId",'
        ' "TICKET_CUSTOMER_REPLIED": ["ticketId", "ticket.id"]}',
    )
    import django

    django.setup()
    from workflows.tenancy import Scope, enter_scope

    # What a test makes and looks at is of any tenant; what it calls narrows the scope itself, and threads begin with none.
    enter_scope(Scope(is_system=True))
    from portal.celery import app

    assert set(app.amqp.queues) == {"celery"}  # made now, before a test may change the setting they are made from


def pytest_unconfigure(config: pytest.Config) -> None:
    _stack.close()


@pytest.fixture(scope="session")
def servers() -> Servers:
    assert _servers is not None
    return _servers


@pytest.fixture(scope="session")
def database(servers: Servers, django_db_blocker: Any) -> None:
    """The migrated database of the session's own server, open to every thread. It goes with the server."""
    from django.core.management import call_command

    django_db_blocker.unblock()
    call_command("migrate", interactive=False, verbosity=0)


@pytest.fixture(scope="session")
def django_db_setup(database: None) -> None:
    """pytest-django's own would make another database and flush it."""


@pytest.fixture
def tenant(database: None) -> Any:
    """A tenant of the test's own."""
    from tests.support.factories import make_tenant

    return make_tenant()


@pytest.fixture(scope="session")
def temporal_worker(database: None) -> Iterator[None]:
    """The portal's own Temporal worker, in a thread of this process."""
    from tests.support.workers import running_temporal_worker

    with running_temporal_worker():
        yield


@pytest.fixture(scope="session")
def celery_worker(database: None) -> Iterator[None]:
    """The portal's own Celery worker, in threads of this process."""
    from tests.support.workers import running_celery_worker

    with running_celery_worker():
        yield


@pytest.fixture
def portal(tenant: Any, temporal_worker: None, celery_worker: None) -> Any:
    """A tenant with everything behind it running."""
    return tenant


@pytest.fixture
def unheard(settings: Any) -> None:
    """Messages go to a queue that no worker listens to: what happens next is the test's own doing."""
    settings.CELERY_TASK_DEFAULT_QUEUE = "unheard"


@pytest.fixture
def desk(portal: Any, servers: Servers) -> Any:
    from tests.support.desk import Desk

    return Desk(portal, servers)


@pytest.fixture
def outage(servers: Servers) -> Callable[[], None]:
    """Ends an outage of Temporal: starts it and waits until the portal reaches it."""
    from tests.support.desk import temporal_answers
    from tests.support.factories import eventually

    def back() -> None:
        servers.temporal.start()
        eventually(temporal_answers, what="Temporal answers again")

    return back
