"""Fixtures of the tests of tenants. They import inside, because pytest reads this file before the settings."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the event ids of the runs that were started, in this order. Temporal is not called."""
    from workflows.temporal import gateway

    ids: list[str] = []

    def start(run: Any, **_: Any) -> str:
        ids.append(run.trigger_event_id)
        return f"first-{uuid.uuid4()}"

    monkeypatch.setattr(gateway, "start_run", start)
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    return ids


@pytest.fixture
def portal() -> Iterator[Any]:
    """Return a superuser of a new tenant. The maintenance of the portal ends with the test."""
    from tests.support.factories import make_tenant
    from tests.support.members import member_of
    from workflows.models import PortalMaintenance
    from workflows.tenancy import system_scope

    with system_scope():
        PortalMaintenance.objects.all().delete()
    yield member_of(make_tenant(), role="viewer", superuser=True)
    with system_scope():
        PortalMaintenance.objects.all().delete()
