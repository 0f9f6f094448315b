"""Pages say what is true: beyond 500 rows, about replays, and with the filters that were chosen.

Source: docs/reference/screens.md#run-page
"""

from typing import Any

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from tests.support.bulk_jobs import preview_job
from tests.support.events import open_wait, receive
from tests.support.factories import make_run
from tests.support.members import member_of
from workflows.ledger import run_id_of_replay
from workflows.models import BulkItem, Command, Event, EventDelivery, RunWait
from workflows.projections.transaction import projection_writer
from workflows.selectors.runs import run_page
from workflows.statuses import CommandAction

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def copies(row: Any, number: int, **changed: str) -> None:
    """Insert copies of a projection row with new ids."""
    table = row._meta.db_table
    columns = [field.column for field in row._meta.concrete_fields]
    selected = ["gen_random_uuid()" if name == "id" else changed.get(name, name) for name in columns]
    with projection_writer("test"), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(selected)} FROM {table},"
            " generate_series(2, %s) n WHERE id = %s",
            [number, row.id],
        )


def test_open_wait_and_count_are_right_beyond_500_waits(tenant: Any) -> None:
    run = make_run(tenant)
    first = open_wait(tenant, run=run)
    copies(first, 600, status="'RESOLVED'", opened_at="opened_at - interval '1 day'", iteration="n::text")
    page = run_page(tenant_id=tenant.id, run_id=run.id)
    assert page is not None
    assert [view.wait.id for view in page.waiting_on] == [first.id]
    shown = member_of(tenant).get(reverse("admin:workflows_run_change", args=[run.id])).content.decode()
    assert "<b>600</b>" in shown
    assert RunWait.objects.filter(run=run).count() == 600


def test_near_misses_leave_out_an_event_that_reached_a_run(tenant: Any) -> None:
    run, other = make_run(tenant), make_run(tenant)
    wait = open_wait(tenant, run=run)
    event = receive(tenant, event_type=wait.event_name, payload={}, workflow_correlation_key="another")
    page = run_page(tenant_id=tenant.id, run_id=run.id)
    assert page is not None
    assert [near.id for near in page.waiting_on[0].near_misses] == [event.id]
    EventDelivery.objects.create(
        tenant=tenant, event=event, run=other, kind="wait", status="matched", decided_at=timezone.now()
    )
    page = run_page(tenant_id=tenant.id, run_id=run.id)
    assert page is not None
    assert page.waiting_on[0].near_misses == []


def test_event_that_is_not_routed_says_so(tenant: Any) -> None:
    event = receive(tenant)
    Event.objects.filter(id=event.id).update(routed_at=None)
    shown = member_of(tenant).get(reverse("admin:workflows_event_change", args=[event.id])).content.decode()
    assert "not routed yet" in shown


def test_chips_keep_search_and_filters(tenant: Any) -> None:
    run = make_run(tenant)
    url = reverse("admin:workflows_run_changelist")
    query = f"?definition={run.definition_key}&q=K&status__exact=WAITING&p=1"
    shown = member_of(tenant).get(f"{url}{query}").content.decode()
    assert f'href="?definition={run.definition_key}&amp;q=K"' in shown
    assert f'href="?definition={run.definition_key}&amp;q=K&amp;status__exact=WAITING"' in shown


def test_replay_shows_earlier_replays_open_runs_and_the_new_run(tenant: Any) -> None:
    old = make_run(tenant, status="FAILED", correlation_key="K")
    version = old.definition_version
    make_run(tenant, correlation_key="K", definition_version=version)
    client = member_of(tenant)
    page = client.get(reverse("admin:workflows_run_replay", args=[old.id])).content.decode()
    assert "Another run of this key." in page
    assert "Already replayed." not in page
    job = preview_job(tenant, CommandAction.REPLAY, ids=[old.id], allow_another_run=True)
    command = Command.objects.create(
        tenant=tenant, action="replay", target_type="run", target_id=str(old.id), run=old, actor_type="user",
        actor_name="x", source="admin", state="requested",
    )  # fmt: skip
    make_run(tenant, id=run_id_of_replay(command.id), replay_of=old, status="RUNNING", definition_version=version)
    shown = client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert "Already replayed." in shown
    new_run_id = run_id_of_replay(command.id)
    BulkItem.objects.filter(job=job).update(command=command, state="accepted", new_run_id=new_run_id)
    type(job).objects.filter(id=job.id).update(state="done", ended_at=timezone.now())
    results = client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert reverse("admin:workflows_run_change", args=[new_run_id]) in results
    assert "State of the new run" in results
