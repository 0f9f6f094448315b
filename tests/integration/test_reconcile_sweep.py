"""The reconciler's sweep, and what it writes, where no Temporal is needed to show it (docs/reference/authority.md#age-and-repair-of-projections)."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from tests.support.factories import make_actor, make_run, publish, wait_for_reply
from workflows.errors import PortalError
from workflows.ledger import command_finish, command_open
from workflows.models import Command, Run
from workflows.projections.ends import RunEnd
from workflows.projections.repairs import record_end
from workflows.services import command_reconcile
from workflows.services.idempotency import command_request
from workflows.services.runs import launch, rebuild, reconcile_sweep, verify
from workflows.services.runs.reconcile import Reconciled
from workflows.services.runs.reconcile_sweep import MAX_LINES, runs_reconcile, runs_reconcile_all
from workflows.services.runs.replay import run_replay
from workflows.services.runs.unstarted import unstarted_runs
from workflows.services.runs.verify import run_repair
from workflows.statuses import CommandAction, CommandState
from workflows.temporal import gateway

pytestmark = pytest.mark.usefixtures("database", "no_dispatcher")


def busy() -> None:
    raise gateway.TemporalBusy("it goes on in a new execution")


def too_slow() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 20")
        cursor.execute("SELECT pg_sleep(5)")


def lost() -> None:
    raise InterfaceError("the connection is closed")


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> dict[uuid.UUID, Callable[[], None]]:
    """What happens when these runs are compared; all others are equal."""
    found: dict[uuid.UUID, Callable[[], None]] = {}

    def reconcile(*, run_id: uuid.UUID, **_: Any) -> Reconciled:
        found.get(run_id, lambda: None)()
        return Reconciled(run_id, "equal")

    monkeypatch.setattr(reconcile_sweep, "run_reconcile", reconcile)
    return found


@pytest.mark.parametrize(("what", "outcome"), [(busy, "busy"), (too_slow, "failed")])
def test_one_run_in_trouble_holds_up_no_other(
    tenant: Any, trouble: dict[uuid.UUID, Callable[[], None]], what: Callable[[], None], outcome: str
) -> None:
    first, _ = sorted([make_run(tenant).id, make_run(tenant).id])
    trouble[first] = what
    report = runs_reconcile_all(tenant_id=tenant.id)
    assert (dict(report.counts), report.problem) == ({outcome: 1, "equal": 1}, "")
    assert report.lines[0].startswith(f"{first} {outcome}: ")


def test_a_database_that_is_lost_ends_the_sweep(tenant: Any, trouble: dict[uuid.UUID, Callable[[], None]]) -> None:
    trouble[make_run(tenant).id] = lost
    with pytest.raises((InterfaceError, OperationalError)):
        runs_reconcile_all(tenant_id=tenant.id)


def test_the_report_has_only_so_many_lines(
    tenant: Any, trouble: dict[uuid.UUID, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [uuid.uuid4() for _ in range(MAX_LINES + 5)]
    trouble.update(dict.fromkeys(ids, busy))
    monkeypatch.setattr(reconcile_sweep, "ids_of", lambda rows: iter(ids))
    report = runs_reconcile_all(tenant_id=tenant.id)
    assert (report.counts["busy"], len(report.lines)) == (len(ids), MAX_LINES)


def test_a_busy_time_leaves_the_walk_and_the_requests_their_turn(
    monkeypatch: pytest.MonkeyPatch, trouble: dict[uuid.UUID, Callable[[], None]]
) -> None:
    walked, decided = uuid.uuid4(), []
    heard: list[uuid.UUID] = []
    trouble[walked] = lambda: heard.append(walked)

    def without_end(_: Any) -> Any:
        while True:
            time.sleep(0.01)
            yield uuid.uuid4()

    monkeypatch.setattr(reconcile_sweep, "_changed", without_end)
    monkeypatch.setattr(reconcile_sweep, "_walk", lambda: iter([walked]))

    def decide(*, stop_at: float) -> dict[str, int]:
        decided.append(stop_at > time.monotonic())
        return {}

    monkeypatch.setattr(reconcile_sweep, "commands_reconcile", decide)
    report = runs_reconcile(budget_seconds=1)
    assert (heard, decided, report.counts["out of time"]) == ([walked], [True], 1)


def test_a_request_about_a_busy_run_holds_up_no_other(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_reconcile, "ABANDONED_AFTER", timedelta(0))
    monkeypatch.setitem(command_reconcile.DECIDERS, CommandAction.CANCEL, lambda _: busy())
    asked = [
        command_open(actor=make_actor(tenant), action=action, target_type="run", target_id="x")
        for action in (CommandAction.CANCEL, CommandAction.PAUSE)
    ]
    command_reconcile.commands_reconcile(stop_at=time.monotonic() + 60)
    for command in asked:
        command.refresh_from_db()
    assert [command.state for command in asked] == ["requested", "failed"]


def test_runs_to_rebuild_are_read_a_page_at_a_time(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "PAGE", 2)
    monkeypatch.setattr(rebuild, "list_runs", lambda: iter([]))
    made = sorted(make_run(tenant).id for _ in range(5))
    assert list(rebuild.runs_to_rebuild(tenant_id=tenant.id)) == made


@pytest.mark.parametrize(
    ("outcome", "state"), [("equal", "observed"), ("rebuilt", "observed"), ("busy", "failed"), ("drift", "failed")]
)
def test_a_repair_is_observed_only_when_the_rows_are_right(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, outcome: str, state: str
) -> None:
    run = make_run(tenant)
    monkeypatch.setattr(verify, "run_reconcile", lambda **_: Reconciled(run.id, outcome, "so it is"))
    command, _ = run_repair(actor=make_actor(tenant), run_id=run.id)
    assert (command.state, (command.details or {})["outcome"]) == (state, outcome)


def test_a_start_is_observed_when_temporal_tells_of_the_runs_end_only(tenant: Any) -> None:
    """It was terminated before it could record anything."""
    run = make_run(tenant, status="STARTING", temporal_first_run_id="a-run-id")
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.START_RUN, target_type="run", target_id=str(run.id)
    )
    command_finish(command, CommandState.ACCEPTED)
    assert record_end(run, RunEnd("a-run-id", "TERMINATED", timezone.now()))
    command.refresh_from_db()
    assert command.state == "observed"


class Killed(BaseException):
    """The process ends here: nothing catches it."""


def test_a_replay_that_temporal_may_have_is_not_taken_back(tenant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of a bulk job is killed when Temporal has the run; then Temporal goes away before the item is taken up."""
    version = publish(tenant, wait_for_reply())
    run = make_run(tenant, status="FAILED", definition_version=version, input={"ticketId": "T-1"})
    actor = make_actor(tenant)
    whole = command_request(
        actor=actor, action=CommandAction.BULK, target_type="bulk job", target_id="j"
    ).command
    asked: dict[str, Any] = {"actor": actor, "run_id": run.id, "idempotency_key": "bulk:j:i:1", "part_of": whole}

    def killed(**_: Any) -> None:
        raise Killed

    def away() -> None:
        raise gateway.TemporalUnreachable("away")

    monkeypatch.setattr(gateway, "check_reachable", lambda: None)
    monkeypatch.setattr(gateway, "start_run", lambda *_, **__: "a-run-id")
    monkeypatch.setattr(launch, "record_first_run_id", killed)
    with pytest.raises(Killed):
        run_replay(**asked)
    monkeypatch.setattr(gateway, "check_reachable", away)
    with pytest.raises(PortalError) as raised:
        run_replay(**asked)
    assert raised.value.details["outcome"] == "unknown"
    assert Run.objects.filter(replay_of=run, status="STARTING").count() == 1
    assert Command.objects.get(tenant=tenant, action=CommandAction.REPLAY).state == "unknown"


@pytest.mark.parametrize(
    ("status", "state"), [("CANCELED", "observed"), ("SUCCEEDED", "failed"), ("WAITING", "accepted")]
)
def test_what_was_accepted_before_the_run_ended_is_decided_by_the_end(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, status: str, state: str
) -> None:
    """The process was killed between Temporal's answer and the look at the run, which ended in between."""
    monkeypatch.setattr(command_reconcile, "ABANDONED_AFTER", timedelta(0))
    run = make_run(tenant, status=status)
    command = command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(run.id), run=run
    )
    command_finish(command, CommandState.ACCEPTED)
    command_reconcile.commands_reconcile(stop_at=time.monotonic() + 60)
    command.refresh_from_db()
    assert command.state == state


def test_launches_that_were_cut_off_are_found_by_an_index(tenant: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off")
        try:
            plan = unstarted_runs().explain()
        finally:
            cursor.execute("SET enable_seqscan = on")
    assert "workflow_runs_starting" in plan
