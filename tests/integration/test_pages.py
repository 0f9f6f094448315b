"""Pages say what is true: beyond 500 rows, about replays, and with the filters that were chosen.

Source: docs/reference/screens.md#run-page
"""

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.support.bulk_jobs import preview_job
from tests.support.events import receive
from tests.support.factories import make_run
from tests.support.members import member_of
from workflows.ledger import run_id_of_replay
from workflows.models import BulkItem, Command, Event
from workflows.statuses import CommandAction

pytestmark = pytest.mark.usefixtures("no_dispatcher")


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
    command = Command.objects.create(
        tenant=tenant, action="replay", target_type="run", target_id=str(old.id), run=old, actor_type="user",
        actor_name="x", source="admin", state="requested",
    )  # fmt: skip
    make_run(tenant, id=run_id_of_replay(command.id), replay_of=old, status="RUNNING", definition_version=version)
    failed = make_run(tenant, replay_of=old, status="FAILED", definition_version=version)
    page = client.get(reverse("admin:workflows_run_replay", args=[old.id])).content.decode()
    assert "1 of 2 replays failed." in page
    assert page.count(f'{failed.id}/change/">replay of') == 1
    job = preview_job(tenant, CommandAction.REPLAY, ids=[old.id], allow_another_run=True)
    shown = client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert "Already replayed." in shown
    new_run_id = run_id_of_replay(command.id)
    BulkItem.objects.filter(job=job).update(command=command, state="accepted", new_run_id=new_run_id)
    type(job).objects.filter(id=job.id).update(state="done", ended_at=timezone.now())
    results = client.get(reverse("admin:workflows_bulkjob_change", args=[job.id])).content.decode()
    assert reverse("admin:workflows_run_change", args=[new_run_id]) in results
    assert "State of the new run" in results
