"""Deletion of old runs: what is deleted, and what is kept (docs/reference/retention.md#runs)."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError
from django.db import DatabaseError, close_old_connections, connection, transaction

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_run, make_tenant, make_token, publish
from tests.support.old_runs import days_ago, fill_run, make_old_event, make_old_run, prune, prune_batch, runs_of
from tests.support.plans import copies
from tests.support.system_scope import in_system_scope
from tests.support.triggers import STATE
from workflows.ledger import command_open
from workflows.models import (
    ActionInvocation,
    BulkItem,
    BulkJob,
    Command,
    Event,
    EventDelivery,
    Notification,
    PrunedRun,
    Run,
    RunHold,
    RunWait,
    Tenant,
)
from workflows.projections import retention
from workflows.projections.transaction import projection_writer
from workflows.services.audit_verify import audit_verify
from workflows.services.retention import prune as prune_module
from workflows.services.retention.old_events import prune_events
from workflows.statuses import CommandAction, Role
from workflows.temporal import gateway

RUN_TABLES = ("RunStep", "RunWait", "RunLog", "RunValue", "HumanTask", "TaskDraft", "EventDelivery")


def test_an_old_run_is_deleted_with_all_its_rows(tenant: Any) -> None:
    run, young = make_old_run(tenant), make_old_run(tenant, days=80)
    child = make_old_run(tenant, parent_run=run, root_run=run, definition_version=run.definition_version)
    for each in (run, child, young):
        fill_run(each, make_old_event(tenant))
    command_open(
        actor=make_actor(tenant), action=CommandAction.REPLAY, target_type="run", target_id=str(run.id), run=run
    )
    before = {name: apps.get_model("workflows", name).objects.filter(tenant=tenant).count() for name in RUN_TABLES}
    assert prune(tenant, "--dry-run").count("2 workflow_runs") == 1
    assert len(runs_of(tenant)) == 3

    output = prune(tenant, "--batch", "1")
    assert "2 workflow_runs" in output, output
    assert "longest transaction" in output
    assert runs_of(tenant) == {young.id}
    after = {name: apps.get_model("workflows", name).objects.filter(tenant=tenant).count() for name in RUN_TABLES}
    assert before == dict.fromkeys(RUN_TABLES, 3)
    assert after == dict.fromkeys(RUN_TABLES, 1)
    gone = set(PrunedRun.objects.filter(tenant=tenant).values_list("id", "definition_key", "retention_days"))
    assert gone == {(run.id, run.definition_key, 90), (child.id, child.definition_key, 90)}
    # Two events of the deleted runs are deleted too; the event of the young run stays with it.
    assert set(Event.objects.filter(tenant=tenant)) == {Run.objects.get(id=young.id).event}
    assert set(Notification.objects.filter(tenant=tenant).values_list("run", flat=True)) == {None, young.id}
    # The ledger keeps the id of the run, and the chain is intact.
    assert Command.objects.get(tenant=tenant, action="replay").run_id == run.id
    deletion = Command.objects.get(tenant=tenant, action="prune")
    assert (deletion.state, deletion.details["deletedRows"]["workflow_runs"]) == ("observed", 2)
    assert audit_verify(tenant_id=tenant.id).problems == []
    assert "workflow_runs" not in prune(tenant)


def test_the_key_of_an_effect_is_kept_without_its_input(tenant: Any) -> None:
    run = make_old_run(tenant)
    fill_run(run, make_old_event(tenant))
    prune(tenant)
    kept = ActionInvocation.objects.get(tenant=tenant)
    assert (kept.run_id, kept.idempotency_key, kept.input, kept.output) == (None, f"payment {run.id}", {}, {"ok": True})
    ActionInvocation.objects.filter(id=kept.id).update(started_at=days_ago(731))
    prune(tenant)
    assert not ActionInvocation.objects.filter(tenant=tenant).exists()


def _with_wait(run: Run) -> None:
    with projection_writer("test"):
        RunWait.objects.create(
            tenant=run.tenant,
            run=run,
            step_path="a",
            step_id="a",
            kind="event",
            status="WAITING",
            opened_at=days_ago(1),
        )


def _with_job(run: Run) -> None:
    job = BulkJob.objects.create(
        tenant=run.tenant, action="replay", actor_type="user", actor_name="x", actor_role="operator", source="api",
        state="paused",
    )  # fmt: skip
    BulkItem.objects.create(tenant=run.tenant, job=job, position=1, target_id=run.id)


def _child(run: Run, **fields: Any) -> None:
    make_run(run.tenant, parent_run=run, root_run=run, definition_version=run.definition_version, **fields)


KEPT: dict[str, tuple[Callable[[Run], Any], str]] = {
    "open child": (_child, "open run"),
    "open replay": (
        lambda run: make_run(run.tenant, replay_of=run, definition_version=run.definition_version),
        "replay that is kept",
    ),
    "young replay of an old replay": (
        lambda run: make_old_run(run.tenant, days=1, replay_of=make_old_run(run.tenant, days=98, replay_of=run)),
        "replay that is kept",
    ),
    "young child": (lambda run: _child(run, status="FAILED", ended_at=days_ago(1)), "run that ended later"),
    "hold": (lambda run: RunHold.objects.create(tenant=run.tenant, run=run, reason="r"), "legal hold"),
    "hold on a child": (
        lambda run: RunHold.objects.create(
            tenant=run.tenant, run=make_old_run(run.tenant, parent_run=run, root_run=run), reason="r"
        ),
        "legal hold",
    ),
    "open wait": (_with_wait, "open wait"),
    "delivery": (
        lambda run: EventDelivery.objects.create(
            tenant=run.tenant, event=make_old_event(run.tenant), kind="trigger", run=run, status="sent"
        ),
        "delivery on its way",
    ),
    "paused bulk job": (_with_job, "bulk job"),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_run_that_is_still_needed_is_kept(tenant: Any, case: str) -> None:
    needed, other = make_old_run(tenant), make_old_run(tenant)
    add, reason = KEPT[case]
    add(needed)
    before = runs_of(tenant)
    output = prune(tenant)
    assert runs_of(tenant) == before - {other.id}
    assert f"({reason})" in output


def test_batches_are_smaller_on_a_slow_server(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    size = prune_module.BatchSize(500)
    numbers = []
    for slow in (-1, -1, -1, -1, 1e9, 1e9, 1e9, 1e9):
        monkeypatch.setattr(prune_module, "SLOW", slow)
        with size.adapted():
            pass
        numbers.append(size.number)
    assert numbers == [250, 125, 62, 50, 100, 200, 400, 500]

    monkeypatch.setattr(prune_module, "SLOW", -1)
    monkeypatch.setattr(prune_module, "LEAST_BATCH", 1)
    version = make_old_run(tenant).definition_version
    for _ in range(6):
        make_old_run(tenant, definition_version=version)
    progress = prune_module.tenants_prune(tenants=[tenant], options=prune_module.Pass(batch=4))
    assert [step.total for step in progress if step.part == "runs"][:3] == [4, 6, 7]


def test_old_replays_are_deleted_with_their_originals_in_one_pass(tenant: Any) -> None:
    original = make_old_run(tenant, days=110)
    make_old_run(tenant, days=100, replay_of=make_old_run(tenant, days=105, replay_of=original))
    prune(tenant, "--batch", "1")
    assert runs_of(tenant) == set()


def test_no_run_is_deleted_before_temporal_has_forgotten_it(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_old_run(tenant)
    monkeypatch.setattr(prune_module, "runs_kept_by_temporal", lambda: timedelta(days=101))
    prune(tenant)
    assert runs_of(tenant) == {run.id}

    def down() -> timedelta:
        raise prune_module.TemporalError("no connection")

    monkeypatch.setattr(prune_module, "runs_kept_by_temporal", down)
    with pytest.raises(CommandError, match="not finished"):
        prune(tenant)
    assert runs_of(tenant) == {run.id}


def test_each_tenant_has_its_own_period(tenant: Any) -> None:
    other = make_tenant()
    Tenant.objects.filter(id=other.id).update(closed_run_retention_days=200)
    make_old_run(tenant)
    kept = make_old_run(other)
    Tenant.objects.filter(id=tenant.id).update(closed_run_retention_days=0)
    young = make_old_run(tenant, days=6.9)  # the least period is 7 days, whatever the row says
    prune(tenant)
    prune(other)
    assert (runs_of(tenant), runs_of(other)) == ({young.id}, {kept.id})


def test_a_locked_family_is_left_to_the_process_that_has_it(tenant: Any) -> None:
    run, other = make_old_run(tenant), make_old_run(tenant)
    child = make_old_run(tenant, parent_run=run, root_run=run)
    locked, release = threading.Event(), threading.Event()

    @in_system_scope
    def hold() -> None:
        with transaction.atomic():
            Run.objects.select_for_update().get(id=child.id)
            locked.set()
            release.wait(60)
        close_old_connections()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert locked.wait(30)
        assert "1 (locked by another process)" in prune(tenant)
    finally:
        release.set()
        thread.join()
    assert runs_of(tenant) == {run.id, child.id}
    prune(tenant)
    assert runs_of(tenant) == set()
    assert not Run.objects.filter(id=other.id).exists()


def test_two_processes_delete_each_run_once(tenant: Any) -> None:
    version = make_old_run(tenant).definition_version
    for _ in range(39):
        make_old_run(tenant, definition_version=version)
    found: list[int] = []

    @in_system_scope
    def work() -> None:
        position: Any = None
        while True:
            batch, position = prune_batch(tenant, limit=3, after=position)
            found.append(batch.deleted["workflow_runs"])
            if position is None:
                break
        close_old_connections()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    prune(tenant)
    assert runs_of(tenant) == set()
    assert sum(found) <= 40
    assert PrunedRun.objects.filter(tenant=tenant).count() == 40


def test_a_batch_that_fails_deletes_nothing(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_old_run(tenant)
    fill_run(run, make_old_event(tenant))
    statements = [*retention._STATEMENTS[:-1], ("workflow_runs", "WHERE 1 / 0 = 1")]
    monkeypatch.setattr(retention, "_STATEMENTS", statements)
    with pytest.raises(CommandError, match="1 part"):
        prune(tenant)
    assert runs_of(tenant) == {run.id}
    assert (run.steps.count(), run.logs.count(), PrunedRun.objects.filter(tenant=tenant).count()) == (1, 1, 0)


def test_a_batch_reads_only_indexes_of_big_tables(tenant: Any) -> None:
    run, event = make_old_run(tenant), make_old_event(tenant)
    fill_run(run, event)
    run_id, event_id, wait_id = (f"md5('{name}' || n)::uuid" for name in ("run", "event", "wait"))
    age = "now() - interval '100 days' - interval '1 second' * n"
    wait, delivery = run.waits.get(), event.deliveries.get()
    number = 10_000
    rows = [
        run, event, wait, delivery, event.keys.get(), run.steps.get(), run.logs.get(), run.values.get(),
        run.tasks.get(), run.invocations.first(),
    ]  # fmt: skip
    tables = [row._meta.db_table for row in rows]
    run = Run.objects.get(id=run.id)
    copies(run, number, id=run_id, temporal_workflow_id="'x' || n", event_id=event_id, ended_at=age)
    copies(event, number, id=event_id, event_id="'x' || n", received_at=age)
    copies(event.keys.get(), number, event_id=event_id)
    copies(wait, number, id=wait_id, run_id=run_id, event_id=event_id)
    copies(delivery, number, run_id=run_id, wait_id=wait_id, event_id=event_id)
    copies(run.steps.get(), number, run_id=run_id, child_run_id="NULL::uuid")
    for row in (run.logs.get(), run.values.get(), run.tasks.get()):
        copies(row, number, run_id=run_id, **({"wait_id": wait_id} if hasattr(row, "wait_id") else {}))
    copies(run.invocations.first(), number, run_id=run_id, idempotency_key=f"{run_id} || '/s'")
    with transaction.atomic(), connection.cursor() as cursor:
        found, _ = prune_batch(tenant, limit=50)
        assert found.deleted["workflow_runs"] == 50
        events = prune_events(tenant_id=tenant.id, before=days_ago(90), after=None, limit=50)
        assert events.deleted["workflow_runtime_events"] == 50
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        # The other tables have only rows of other tests. PostgreSQL may read such a small table whole.
        cursor.execute(
            "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
            " WHERE seq_tup_read > 1000 AND relname = ANY(%s)",
            [tables],
        )
        assert cursor.fetchall() == []


def test_only_the_projection_writer_of_retention_deletes_runs(tenant: Any) -> None:
    run = make_old_run(tenant)
    with pytest.raises(DatabaseError, match="projection rows follow Temporal"), transaction.atomic():
        Run.objects.filter(id=run.id).delete()


def test_a_repeated_start_whose_run_was_deleted_starts_no_second_run(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(gateway, "start_run", lambda run, **_: started.append(run.run_id) or "first")
    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    publish(tenant, STATE)
    api, body = Api(make_token(tenant, Role.OPERATOR)), {"definition": "flow", "payload": {}}
    first = api.post("/runs", body, **{"Idempotency-Key": "k"}).json()
    with projection_writer("test"):
        Run.objects.filter(id=first["run_id"]).update(status="SUCCEEDED", ended_at=days_ago(100))
    prune(tenant)
    assert api.post("/runs", body, **{"Idempotency-Key": "k"}).json() == first
    assert (started, runs_of(tenant)) == ([first["run_id"]], set())
    assert error_of(api.get(f"/runs/{first['run_id']}/steps"), 404)["code"] == "RUN_DELETED"
