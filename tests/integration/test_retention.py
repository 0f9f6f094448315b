"""Deletion of old runs, events and other rows (docs/reference/retention.md)."""

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from django.db import DatabaseError, OperationalError, close_old_connections, connection, transaction
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_run, make_tenant, make_token, publish
from tests.support.management_commands import run_command
from tests.support.old_runs import days_ago, fill_run, make_old_event, make_old_run, prune_batch
from tests.support.plans import copies
from tests.support.system_scope import in_system_scope
from tests.support.triggers import STATE
from workflows import tasks
from workflows.ledger import command_open
from workflows.models import (
    ActionInvocation,
    ApiToken,
    BulkItem,
    BulkJob,
    Command,
    DataStoreEntry,
    Event,
    EventDelivery,
    Incident,
    IncidentFailure,
    IncidentHour,
    IncidentNote,
    Notification,
    OutboxEvent,
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
from workflows.services.retention import record
from workflows.services.retention.old_events import prune_events
from workflows.services.tokens import token_issue
from workflows.statuses import CommandAction, Role
from workflows.temporal import gateway

RUN_TABLES = ("RunStep", "RunWait", "RunLog", "RunValue", "HumanTask", "TaskDraft", "EventDelivery")


def prune(tenant: Tenant, *more: str) -> str:
    return run_command("prune", "--tenant", tenant.slug, *more)


def runs_of(tenant: Tenant) -> set[Any]:
    return set(Run.objects.filter(tenant=tenant).values_list("id", flat=True))


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


def test_closed_incidents_are_deleted_with_their_last_run(tenant: Any) -> None:
    version = make_old_run(tenant).definition_version

    def incident(number: int, **fields: Any) -> Incident:
        values = {"state": "closed", "state_since": days_ago(91), "last_failed_at": days_ago(100), **fields}
        made = Incident.objects.create(
            tenant=tenant, number=number, definition=version.definition, fingerprint=str(number),
            first_failed_at=days_ago(100), **values,
        )  # fmt: skip
        IncidentHour.objects.create(tenant=tenant, incident=made, hour=days_ago(100), version=1, failures=1)
        IncidentNote.objects.create(tenant=tenant, incident=made, author_name="x", text="n")
        return made

    gone = incident(1)
    incident(2, merged_into=gone, state="open")
    kept = [
        incident(3, state="resolved"), incident(4, state_since=days_ago(89)), incident(5, last_failed_at=days_ago(89)),
        incident(6), incident(7),
    ]  # fmt: skip
    IncidentFailure.objects.create(
        tenant=tenant, incident=kept[3], run_id=make_old_run(tenant, days=80).id, failed_at=days_ago(80), version=1,
        origin_id=gone.id, is_counted=True,
    )  # fmt: skip
    kept.append(incident(8, split_from=kept[4], state="open"))
    output = prune(tenant) + prune(tenant)  # the incident that shows a merged one is deleted after it
    assert "workflow_incidents" in output
    assert set(Incident.objects.filter(tenant=tenant)) == set(kept)
    assert IncidentHour.objects.filter(tenant=tenant).count() == IncidentNote.objects.filter(tenant=tenant).count() == 6


def test_old_events_are_deleted_unless_something_refers_to_them(tenant: Any) -> None:
    young, old = make_old_event(tenant, days=80), make_old_event(tenant)
    dead, waiting = make_old_event(tenant), make_old_event(tenant)
    original = make_old_event(tenant, days=120)
    conflict = make_old_event(tenant, days=110, conflict_of=original)
    kept = make_old_event(tenant, days=120)
    young_conflict = make_old_event(tenant, days=1, conflict_of=kept)
    unrouted = make_old_event(tenant, outcome="received", routed_at=None)
    EventDelivery.objects.create(tenant=tenant, event=dead, kind="trigger", status="dead")
    EventDelivery.objects.create(tenant=tenant, event=waiting, kind="trigger", status="pending", next_attempt_at=
                                 timezone.now() + timedelta(days=1))  # fmt: skip
    output = prune(tenant, "--batch", "2")
    assert set(Event.objects.filter(tenant=tenant)) == {young, waiting, kept, young_conflict, unrouted}
    assert {"1 (conflict that is kept)", "1 (not routed yet)"} <= {
        part.strip() for part in output.split("events")[-1].split("kept: ")[-1].splitlines()[0].split(",")
    }
    EventDelivery.objects.filter(tenant=tenant).update(status="discarded")
    Event.objects.filter(id=unrouted.id).delete()
    assert not Event.objects.filter(id__in=[old.id, dead.id, conflict.id]).exists()


def test_other_old_rows_are_deleted(tenant: Any) -> None:
    run = make_old_run(tenant, days=1)
    fill_run(run, make_old_event(tenant))
    now = timezone.now()
    for days in (91, 89):
        at = days_ago(days)
        user = Notification.objects.filter(tenant=tenant).first().user  # type: ignore[union-attr]
        row = Notification.objects.create(tenant=tenant, user=user, idempotency_key=str(days), title="T")
        Notification.objects.filter(id=row.id).update(created_at=at)
        OutboxEvent.objects.create(tenant=tenant, envelope={}, refused_at=at)
        DataStoreEntry.objects.create(tenant=tenant, key=str(days), value=1, expires_at=now + timedelta(days=90 - days))
        token, _ = token_issue(tenant_id=tenant.id, name=str(days), role=Role.VIEWER)
        ApiToken.objects.filter(id=token.id).update(revoked_at=now - timedelta(days=31 * (days - 89)))
        PrunedRun.objects.create(
            tenant=tenant, definition_key=str(days), ended_at=at, retention_days=1, pruned_at=days_ago(days * 8.1)
        )
        job = BulkJob.objects.create(
            tenant=tenant, action="cancel", actor_type="user", actor_name="x", actor_role="operator", source="api",
            state="done", ended_at=at, reason=str(days),
        )  # fmt: skip
        BulkItem.objects.create(tenant=tenant, job=job, position=1, target_id=job.id)
        Session.objects.create(
            session_key=f"{tenant.slug}-{days}"[:40], session_data="", expire_date=now + timedelta(days=90 - days)
        )
    prune(tenant)
    assert set(Notification.objects.filter(tenant=tenant).values_list("title", flat=True)) == {"T"}
    assert Notification.objects.filter(tenant=tenant).count() == 2
    for model, name in (
        (DataStoreEntry, "key"),
        (ApiToken, "name"),
        (PrunedRun, "definition_key"),
        (BulkJob, "reason"),
    ):
        assert list(model.objects.filter(tenant=tenant).values_list(name, flat=True)) == ["89"], model
    assert OutboxEvent.objects.filter(tenant=tenant).count() == 1
    assert BulkItem.objects.filter(tenant=tenant).count() == 1
    assert [key[-2:] for key in Session.objects.filter(session_key__startswith=tenant.slug).values_list(
        "session_key", flat=True)] == ["89"]  # fmt: skip


def test_rows_of_ended_sessions_leave_the_list_of_sessions(tenant: Any) -> None:
    account = get_user_model().objects.create_user(f"maya-{tenant.slug}")
    for name, days, age in (("open", 1, 2), ("expired", -1, 2), ("gone", None, 2), ("starting", None, 0)):
        key = f"{name}-{tenant.slug}"[:40]
        if days is not None:
            expiry = timezone.now() + timedelta(days=days)
            Session.objects.create(session_key=key, session_data="", expire_date=expiry)
        UserSession.objects.create(
            user=account, session_key=key, ip="192.0.2.1", user_agent=name, created_at=days_ago(age)
        )

    def left() -> set[str]:
        return set(UserSession.objects.filter(user=account).values_list("user_agent", flat=True))

    prune(tenant, "--dry-run")
    assert left() == {"open", "expired", "gone", "starting"}
    prune(tenant, "--batch", "1")
    assert left() == {"open", "starting"}


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


def test_the_daily_task_deletes_in_slices(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old_run(tenant)
    sent: list[Any] = []
    monkeypatch.setattr(tasks.prune_old_rows, "apply_async", lambda **options: sent.append(options))
    monkeypatch.setattr(prune_module, "tenants_in_turn", lambda: [tenant])
    monkeypatch.setattr(prune_module, "SLICE_SECONDS", 0)
    Session.objects.create(session_key=tenant.slug, session_data="", expire_date=days_ago(1))
    assert tasks.prune_old_rows() == {}
    assert (len(runs_of(tenant)), sent) == (1, []), "a slice that deletes nothing is not repeated"
    monkeypatch.setattr(prune_module, "SLICE_SECONDS", 60)
    assert tasks.prune_old_rows()["workflow_runs"] == 1
    assert (runs_of(tenant), sent) == (set(), [])

    last = prune_module.Progress("t", "runs", Counter(workflow_runs=1), is_last=True)
    monkeypatch.setattr(prune_module, "SLICE_SECONDS", -1)
    monkeypatch.setattr(prune_module, "tenants_prune", lambda **_: iter([last]))
    assert tasks.prune_old_rows() == {"workflow_runs": 1}
    assert sent == [{"countdown": 1}]


def test_an_error_of_one_part_leaves_the_others(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the login of sign-in, for example, sessions stay and everything else is deleted."""

    def no_login(**_: Any) -> int:
        raise ImproperlyConfigured("DATABASE_SIGNIN_URL is not set")

    monkeypatch.setattr(prune_module, "prune_sessions", no_login)
    make_old_run(tenant)
    with pytest.raises(CommandError, match="1 part"):
        prune(tenant)
    assert runs_of(tenant) == set()


@pytest.mark.parametrize("stop", [OperationalError("server closed the connection"), KeyboardInterrupt()])
def test_a_pass_that_stops_early_records_what_it_has_deleted(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    def stopped(**_: Any) -> Any:
        raise stop

    monkeypatch.setattr(prune_module, "prune_events", stopped)
    make_old_run(tenant)
    with pytest.raises(type(stop)):
        prune(tenant)
    row = Command.objects.get(tenant=tenant, action="prune")
    assert (row.state, row.details["deletedRows"]["workflow_runs"]) == ("observed", 1)


def test_a_killed_process_has_recorded_each_batch(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed ends between two transactions, as this generator does, or its transaction is lost."""

    def deleted() -> list[tuple[int, bool]]:
        rows = Command.objects.filter(tenant=tenant, action="prune")
        return [(row.details["deletedRows"]["workflow_runs"], row.details["isEnded"]) for row in rows]

    for _ in range(3):
        make_old_run(tenant)
    with monkeypatch.context() as patch:
        patch.setattr(record, "command_progress", lambda *_: 1 / 0)
        with pytest.raises(CommandError, match="not finished"):
            prune(tenant)
    assert (len(runs_of(tenant)), deleted()) == (3, []), "without its record, a batch deletes nothing"

    progress = prune_module.tenants_prune(tenants=[tenant], options=prune_module.Pass(batch=2))
    while next(progress).part != "runs":
        pass
    assert (len(runs_of(tenant)), deleted()) == (1, [(2, False)])
    assert sum(1 for _ in progress) > 0
    assert (len(runs_of(tenant)), deleted()) == (0, [(3, True)])
    assert audit_verify(tenant_id=tenant.id).problems == []


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


# References to rows that retention deletes. It deletes the row that refers, sets the reference to NULL, or keeps the
# target. A new reference needs a decision in `workflows/projections/retention.py` or `old_events.py`.
REFERENCES = {
    "Run": {
        "ActionInvocation.run", "Command.run", "EventDelivery.run", "HumanTask.run", "Notification.run",
        "Run.parent_run", "Run.replay_of", "Run.root_run", "RunHold.run", "RunLog.run", "RunStep.child_run",
        "RunStep.run", "RunValue.run", "RunWait.run",
    },
    "RunWait": {"EventDelivery.wait", "HumanTask.wait"},
    "RunStep": set(),
    "HumanTask": {"TaskDraft.task"},
    "Event": {
        "Event.conflict_of", "EventDelivery.event", "EventKey.event", "Run.event", "RunWait.event",
        "ScheduleOccurrence.event",
    },
    "EventDelivery": set(),
    "BulkJob": {"BulkItem.job"},
    "Command": {"BulkItem.command", "BulkJob.command", "Command.parent", "CommandEntry.command"},
    "ApiToken": set(),
    "Incident": {
        "BulkJob.incident", "Incident.merged_into", "Incident.split_from", "IncidentFailure.incident",
        "IncidentHour.incident", "IncidentNote.incident",
    },
    "Invitation": set(),
}  # fmt: skip


def test_retention_knows_every_reference_to_the_rows_that_it_deletes() -> None:
    found: dict[str, set[str]] = {name: set() for name in REFERENCES}
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            target = field.remote_field.model.__name__ if field.remote_field else ""
            if target in found:
                found[target].add(f"{model.__name__}.{field.name}")
    assert found == REFERENCES
