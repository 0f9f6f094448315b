"""Cancel of the open run by a queued start with `cancelOldest`. Temporal is replaced by a stand-in.

Source: docs/reference/events.md#concurrency-keys
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from tests.support.factories import expr, make_run, make_version
from tests.support.fake_temporal import FakeTemporal
from tests.support.records import run_record, write
from tests.support.system_scope import in_system_scope
from workflows.models import Command, Definition, Run
from workflows.services.runs import queue
from workflows.services.runs.queue import holder_cancel


@pytest.fixture
def holder_and_start(tenant: Any, no_dispatcher: None) -> tuple[Run, Run]:
    """Return an open run, and a queued start with the same concurrency key."""
    version = make_version(tenant, key="flow")
    rule = {"key": expr("payload.customer"), "onConflict": "cancelOldest"}
    Definition.objects.filter(id=version.definition_id).update(concurrency=rule)
    version.definition.refresh_from_db()
    holder = make_run(tenant, definition_version=version, concurrency_key="C-1")
    later = {"status": "STARTING", "queued_until": timezone.now()}
    return holder, make_run(tenant, definition_version=version, concurrency_key="C-1", **later)


def states(run: Run) -> list[str]:
    return list(Command.objects.filter(run=run).order_by("requested_at").values_list("state", flat=True))


def test_workers_that_check_the_queue_at_once_request_one_cancel(
    holder_and_start: tuple[Run, Run], fake_temporal: FakeTemporal, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder, start = holder_and_start
    gate, cancel = threading.Barrier(2), queue.run_cancel

    def cancel_together(**request: Any) -> Command:
        gate.wait(60)  # both workers have found no open cancel
        return cancel(**request)

    @in_system_scope
    def check() -> None:
        try:
            holder_cancel(start, holder)
        finally:
            connections.close_all()

    monkeypatch.setattr(queue, "run_cancel", cancel_together)
    with ThreadPoolExecutor(2) as threads:
        for checked in [threads.submit(check) for _ in range(2)]:
            checked.result()
    assert states(holder) == ["accepted"]
    assert len(fake_temporal.requests) == 1


def test_check_of_the_queue_before_the_end_requests_no_cancel_after_it(
    holder_and_start: tuple[Run, Run], fake_temporal: FakeTemporal
) -> None:
    holder, start = holder_and_start
    holder_cancel(start, holder)
    holder_cancel(start, holder)
    assert states(holder) == ["accepted"]
    assert write(holder, run_record(1, "CANCELED"))
    holder_cancel(start, holder)  # another worker has read the holder before its end
    assert states(holder) == ["observed"]
    assert len(fake_temporal.requests) == 1


def test_refused_cancel_is_requested_again(holder_and_start: tuple[Run, Run], fake_temporal: FakeTemporal) -> None:
    holder, start = holder_and_start
    fake_temporal.outage = "down"
    for _ in range(2):
        holder_cancel(start, holder)
    fake_temporal.outage = ""
    for _ in range(2):
        holder_cancel(start, holder)
    assert states(holder) == ["refused", "refused", "accepted"]
