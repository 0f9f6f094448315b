"""Servers and fixtures for all tests. Each session starts its own PostgreSQL, Redis and Temporal.

Tests commit their rows, because the workers must see them. Nothing is rolled back or flushed. So each test works in a
tenant of its own (`tests/support/factories.py`).
"""

import gc
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
    """Start the servers and set the environment variables. Then load Django, which reads its settings from them."""
    global _servers
    _keep_compiled_modules()
    if config.option.collectonly or os.environ.get("POINTSMAN_TEST_NO_SERVERS"):
        return
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        # This process only distributes tests, and each xdist worker starts its own servers. The Temporal CLI is
        # downloaded here, once, before the workers need it.
        temporal_cli.from_environment(Listener(lambda line: sys.stderr.write(f"{line}\n")))
        return
    home = Path(_stack.enter_context(tempfile.TemporaryDirectory(prefix="pointsman-tests-")))
    (home / "static").mkdir()
    _servers = _stack.enter_context(embedded_servers(home / "servers"))
    os.environ.update(
        DJANGO_SETTINGS_MODULE="portal.settings",
        POINTSMAN_ENV="development",
        POINTSMAN_HOME=str(home),
        **_servers.database_environment,
        REDIS_URL=_servers.redis_url,
        TEMPORAL_ADDRESS=_servers.temporal_address,
        TEMPORAL_TASK_QUEUE="tests",
        TEMPORAL_RPC_TIMEOUT_SECONDS="15",
        DELIVERY_BACKOFF_SECONDS="0.2",
        HTTP_ALLOWED_PRIVATE_HOSTS="127.0.0.1",
        WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON='{"TICKET_CREATED": "payload.ticketId",'
        ' "TICKET_CUSTOMER_REPLIED": ["ticketId", "ticket.id"]}',
    )
    import django
    from django.conf import settings

    django.setup()
    settings.PASSWORD_HASHERS = ["tests.support.password_hashes.FastHasher"]
    # Each test client builds the middlewares, and would search all static files. Only browsers request such files.
    settings.WHITENOISE_USE_FINDERS = False
    from workflows.tenancy import Scope, enter_scope, use_system_login

    use_system_login()
    # A test creates and reads rows of any tenant. The code under test narrows the scope. Other threads have no scope.
    enter_scope(Scope(is_system=True))
    from portal.celery import app

    # Reading `app.amqp` creates the queues from the settings, before a test changes the setting of the queue name.
    assert set(app.amqp.queues) == {"celery"}


def _keep_compiled_modules() -> None:
    """Let all programs of the tests store compiled modules. Without this, each program compiles the portal again."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


# Folders, the ones with the longest files first. The option --no-loadscope-reorder keeps this order. Without it,
# xdist gives out the files with the most tests first, and the long files with few tests run at the end, on one core.
LONGEST_FIRST = ("acceptance", "browser", "temporal", "replay", "integration", "unit")


# Files with tests that walk over all tenants. Each test leaves a tenant, so they run before the others of their folder.
FEW_TENANTS_FIRST = ("test_maintenance.py", "test_tenant_limits.py", "test_step_counts.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the long files first. All xdist workers have the same order."""
    root = Path(__file__).parent

    def place(item: pytest.Item) -> tuple[int, bool]:
        folder = item.path.relative_to(root).parts[0]
        return LONGEST_FIRST.index(folder), item.path.name not in FEW_TENANTS_FIRST

    items.sort(key=place)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exempt all modules and collected tests from garbage collection. They exist until the end of the process."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    _stack.close()


@pytest.fixture(scope="session")
def servers() -> Servers:
    assert _servers is not None
    return _servers


@pytest.fixture(scope="session")
def database(servers: Servers, django_db_blocker: Any) -> None:
    """Migrate the database and open it to all threads. The database ends with its server."""
    from django.core.management import call_command

    django_db_blocker.unblock()
    call_command("migrate", interactive=False, verbosity=0)


@pytest.fixture(scope="session")
def django_db_setup(database: None) -> None:
    """Replace the fixture of pytest-django, which would create a second database and flush it."""


@pytest.fixture(autouse=True)
def _no_due_work_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "database" in request.fixturenames:
        from tests.support.leftover_work import postpone_due_work

        postpone_due_work()


@pytest.fixture
def tenant(database: None) -> Any:
    """Return a new tenant for this test."""
    from tests.support.factories import make_tenant

    return make_tenant()


@pytest.fixture(scope="session")
def story(database: None) -> Any:
    """Fill the tenant "Northgate desk" with the story of the screens. Tests only read it."""
    from tests.support.story.tell import tell_story

    return tell_story()


@pytest.fixture(scope="session")
def temporal_worker(database: None) -> Iterator[None]:
    """Run the portal's Temporal worker in a thread of this process."""
    from tests.support.workers import running_temporal_worker

    with running_temporal_worker():
        yield


@pytest.fixture(scope="session")
def celery_worker(database: None) -> Iterator[None]:
    """Run the portal's Celery worker in threads of this process."""
    from tests.support.workers import running_celery_worker

    with running_celery_worker():
        yield


@pytest.fixture
def tenant_with_workers(tenant: Any, temporal_worker: None, celery_worker: None) -> Any:
    """Return a new tenant, with a running Temporal worker and a running Celery worker."""
    return tenant


@pytest.fixture
def no_dispatcher(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send Celery messages to a queue without a worker, so that only the test routes and delivers events.

    After an outage of Temporal in an earlier test, the deliveries of this process would pause.
    """
    from ingress.dispatch import delivery

    settings.CELERY_TASK_DEFAULT_QUEUE = "no-worker"
    monkeypatch.setattr(delivery._pause, "until", 0.0)


@pytest.fixture
def fake_temporal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace Temporal by a recorder of requests, which can have outages and kill workers."""
    from tests.support.fake_temporal import replace_temporal

    return replace_temporal(monkeypatch)


@pytest.fixture
def driver(tenant_with_workers: Any, servers: Servers) -> Any:
    """Return a test driver for a new tenant with workers."""
    from tests.support.tenant_driver import TenantDriver

    return TenantDriver(tenant_with_workers, servers)


@pytest.fixture
def kill_temporal(servers: Servers) -> Callable[[], None]:
    """Return a function that kills Temporal and waits until the portal has noticed it.

    Before that, a call can be lost on the connection that is still open. Its outcome is then unknown, and it is not
    refused.
    """
    from tests.support.factories import eventually
    from tests.support.tenant_driver import temporal_is_reachable

    def kill() -> None:
        servers.temporal.kill()
        eventually(lambda: not temporal_is_reachable(), what="Temporal is out of reach")

    return kill


@pytest.fixture
def restart_temporal(servers: Servers) -> Callable[[], None]:
    """Return a function that starts Temporal after an outage and waits until the portal reaches it."""
    from tests.support.factories import eventually
    from tests.support.tenant_driver import temporal_is_reachable

    def restart() -> None:
        servers.temporal.start()
        eventually(temporal_is_reachable, what="Temporal is reachable again")

    return restart
