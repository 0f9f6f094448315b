"""Live pages: a page that has not changed costs one small statement and no body; each change makes a new version."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.bulk_jobs import reload_job, start_job
from tests.support.events import open_wait, receive
from tests.support.factories import make_run, publish, wait_for_reply
from tests.support.members import member_of
from tests.support.statements import sent_statements
from workflows.admin import live
from workflows.models import (
    BulkItem,
    BulkJob,
    Command,
    Definition,
    Event,
    EventDelivery,
    HumanTask,
    Run,
    Schedule,
    ScheduleOccurrence,
    TenantMembership,
)
from workflows.projections.transaction import projection_writer
from workflows.statuses import Role

pytestmark = pytest.mark.usefixtures("no_dispatcher")


def version_of(client: Client, page: str) -> str:
    content = client.get(page).context_data["live_version"]
    assert isinstance(content, str)
    return content


def poll(client: Client, page: str, version: str) -> Any:
    return client.get(page, headers={"If-None-Match": f'"{version}"'})


def write_run(run: Run, **fields: Any) -> None:
    with projection_writer("test"):
        Run.objects.filter(id=run.id).update(**fields)


def add_command(run: Run) -> None:
    Command.objects.create(
        tenant=run.tenant, run=run, action="cancel", target_type="run", target_id=str(run.id), actor_type="user",
        actor_name="a", source="admin",
    )  # fmt: skip


def add_delivery(run: Run) -> None:
    EventDelivery.objects.create(
        tenant=run.tenant, event=receive(run.tenant), kind="wait", run=run, wait=open_wait(run.tenant, run=run)
    )


def add_task(run: Run) -> None:
    HumanTask.objects.create(tenant=run.tenant, run=run, step_path="root.steps[0]", task_type="t", title="t")


def add_schedule(tenant: Any) -> Schedule:
    version = publish(tenant, wait_for_reply(), key="timed")
    return Schedule.objects.create(
        tenant=tenant, definition=version.definition, name="nightly", origin="portal", kind="recurring",
        cron="0 2 * * *", temporal_schedule_id=f"nightly-{tenant.slug}",
    )  # fmt: skip


CHANGES_OF_A_RUN: dict[str, Callable[[Run], Any]] = {
    "record": lambda run: write_run(run, projection_seq=7),
    "drift": lambda run: write_run(run, drift_found_at=timezone.now()),
    "stuck": lambda run: write_run(run, stuck_attempts=3),
    "command": add_command,
    "delivery": add_delivery,
    "task": add_task,
}


@pytest.fixture(autouse=True)
def _one_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests within one age of a page, also when a minute begins during a test."""
    monkeypatch.setattr(live, "age_of", lambda seconds: 1)


def test_page_without_a_change_is_304_with_few_statements(tenant: Any) -> None:
    client = member_of(tenant)
    page = reverse("admin:workflows_run_change", args=[make_run(tenant).id])
    version = version_of(client, page)
    assert f'data-version="{version}"' in client.get(page).content.decode()
    with sent_statements() as statements:
        response = poll(client, page, version)
    assert (response.status_code, response.content) == (304, b"")
    assert response.headers["ETag"] == f'"{version}"'
    assert len(statements) <= 4, statements  # session, user, membership, version


def test_page_of_a_closed_run_follows_its_replay_until_the_replay_has_ended(tenant: Any) -> None:
    error = {"category": "ACTION", "code": "BAD", "message": "bad"}
    client, run = member_of(tenant), make_run(tenant, status="FAILED", error=error)
    page = reverse("admin:workflows_run_change", args=[run.id])
    assert "data-live data-version" not in client.get(page).content.decode()
    replay = make_run(tenant, replay_of=run)
    assert "data-live data-version" in client.get(page).content.decode()
    version = version_of(client, page)
    assert poll(client, page, version).status_code == 304
    write_run(replay, status="SUCCEEDED", ended_at=timezone.now())
    changed = poll(client, page, version)
    assert (changed.status_code, "data-live data-version" in changed.content.decode()) == (200, False)


@pytest.mark.parametrize("change", CHANGES_OF_A_RUN)
def test_each_change_of_a_run_makes_a_new_version(tenant: Any, change: str) -> None:
    client, run = member_of(tenant), make_run(tenant)
    page = reverse("admin:workflows_run_change", args=[run.id])
    version = version_of(client, page)
    CHANGES_OF_A_RUN[change](run)
    response = poll(client, page, version)
    assert (response.status_code, response.context_data["live_version"] != version) == (200, True)


def test_event_page_and_bulk_job_change_their_versions(tenant: Any) -> None:
    client, event = member_of(tenant), receive(tenant)
    page = reverse("admin:workflows_event_change", args=[event.id])
    version = version_of(client, page)
    assert poll(client, page, version).status_code == 304
    Event.objects.filter(id=event.id).update(outcome="unmatched")
    assert poll(client, page, version).status_code == 200
    run = make_run(tenant)
    job = start_job(tenant, ids=[run.id])
    page = reverse("admin:workflows_bulkjob_change", args=[job.id])
    version = version_of(client, page)
    assert poll(client, page, version).status_code == 304
    BulkItem.objects.filter(job=job).update(state="accepted", decided_at=timezone.now())
    assert poll(client, page, version).status_code == 200
    version = version_of(client, page)
    BulkJob.objects.filter(id=reload_job(job).id).update(state="paused")
    assert poll(client, page, version).status_code == 200


def test_lists_change_their_versions_with_their_rows(tenant: Any) -> None:
    client, run = member_of(tenant), make_run(tenant)
    user = TenantMembership.objects.get(tenant=tenant).user
    models = (HumanTask, EventDelivery, Command, Schedule)
    tasks, deliveries, commands, schedules = (rows.objects.filter(tenant=tenant) for rows in models)
    changes: dict[str, list[Callable[[], Any]]] = {
        "run": [
            lambda: make_run(tenant),
            lambda: write_run(run, projected_at=timezone.now()),
            lambda: write_run(run, status="SUCCEEDED", ended_at=timezone.now()),
        ],
        "event": [lambda: receive(tenant), lambda: Event.objects.filter(tenant=tenant).update(outcome="unmatched")],
        "humantask": [
            lambda: add_task(run),
            lambda: tasks.update(status="claimed", claimed_by=user, claimed_at=timezone.now()),
            lambda: tasks.update(status="pending", claimed_by=None, claimed_at=None),
            lambda: tasks.update(status="completed", completed_at=timezone.now()),
        ],
        "eventdelivery": [
            lambda: add_delivery(run) or deliveries.update(status="dead", decided_at=timezone.now()),
            lambda: deliveries.update(status="pending", decided_at=None, held_since=timezone.now()),
            lambda: deliveries.update(status="discarded", decided_at=timezone.now()),
        ],
        "definition": [
            lambda: publish(tenant, wait_for_reply(), key="other"),
            lambda: Definition.objects.filter(tenant=tenant, key="other").update(is_paused=True),
            lambda: make_run(tenant),
        ],
        "schedule": [
            lambda: add_schedule(tenant),
            lambda: schedules.update(last_run_at=timezone.now()),
            lambda: schedules.update(next_run_at=timezone.now()),
        ],
        "command": [
            lambda: add_command(run),
            lambda: commands.filter(state="requested").update(state="accepted", decided_at=timezone.now()),
        ],
    }
    for name, of_list in changes.items():
        page = reverse(f"admin:workflows_{name}_changelist")
        for change in of_list:
            version = version_of(client, page)
            with sent_statements() as statements:
                assert poll(client, page, version).status_code == 304
            assert len(statements) <= 4, statements  # session, user, membership, version
            change()
            assert poll(client, page, version).status_code == 200, name


def test_page_of_a_schedule_follows_its_occurrences_and_keeps_its_form(tenant: Any) -> None:
    client, schedule = member_of(tenant, role=Role.AUTHOR), add_schedule(tenant)
    page = reverse("admin:workflows_schedule_change", args=[schedule.id])
    version = version_of(client, page)
    assert poll(client, page, version).status_code == 304
    ScheduleOccurrence.objects.create(
        tenant=tenant,
        schedule=schedule,
        scheduled_at=timezone.now(),
        cause="triggered",
        overlap="skip",
        status="skipped",
    )
    changed = poll(client, page, version)
    assert changed.status_code == 200
    live = re.findall(r'<(?:div|section)[^>]* id="([^"]*)"[^>]* data-live', changed.content.decode())
    assert live == ["schedule-head", "schedule-times"]  # the form between them is not changed while a person types


def test_busy_tenant_changes_only_the_dead_letters_that_changed(tenant: Any) -> None:
    client, run = member_of(tenant), make_run(tenant)
    page = reverse("admin:workflows_eventdelivery_changelist")
    version = version_of(client, page)
    add_delivery(run)
    assert poll(client, page, version).status_code == 304
    assert "data-live data-version" not in client.get(f"{page}?status=all").content.decode()


def test_version_belongs_to_the_member_and_to_the_address_and_ends_with_its_age(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, viewer = member_of(tenant), member_of(tenant, role=Role.VIEWER)
    page = reverse("admin:workflows_run_change", args=[make_run(tenant).id])
    version = version_of(operator, page)
    assert poll(viewer, page, version).status_code == 200
    assert poll(operator, f"{page}?tab=steps", version).status_code == 200
    monkeypatch.setattr(live, "age_of", lambda seconds: 2)
    response = poll(operator, page, version)
    assert response.status_code == 200
    # Only the age differs. The browser does not take it for a change.
    assert response.context_data["live_version"].split(".")[0] == version.split(".")[0]


@pytest.mark.parametrize("object_id", ["nonsense", "0192d0f4-0000-7000-8000-000000000000"])
def test_live_page_of_an_unknown_object_is_404(tenant: Any, object_id: str) -> None:
    client = member_of(tenant)
    for name in ("run", "event", "bulkjob"):
        page = reverse(f"admin:workflows_{name}_change", args=[object_id])
        assert poll(client, page, "x").status_code == 404
